"""1F1B: a backward as soon as one can run, so that rank r holds only p - r microbatches."""

from __future__ import annotations

import numpy as np

from simulator.numeric import IntArray
from simulator.schedule.action import Phase, Schedule, looping_placement
from simulator.schedule.weave import (
    Lane,
    assemble,
    existing,
    require_chunks,
    require_sizes,
    weave,
)


def one_f_one_b(num_ranks: int, num_microbatches: int, num_chunks: int) -> Schedule:
    """First p - r forwards on rank r, then backward and forward in turn. Bubble (p - 1)(F + B).

    Source: PipeDream-Flush, Narayanan et al. 2021 (arXiv 2104.04473), section 2.2.1.

    Raises:
        ScheduleError: if a size is not positive or ``num_chunks`` is not 1.
    """
    require_sizes(num_ranks, num_microbatches)
    require_chunks("1f1b", num_chunks, 1)

    def rank_rows(rank: int) -> IntArray:
        warmup = num_ranks - rank
        rows = [
            weave(warmup, Lane(Phase.F, 0, 0)),
            weave(num_microbatches, Lane(Phase.B, 0, 0), Lane(Phase.F, 0, warmup)),
        ]
        return existing(np.concatenate(rows), num_microbatches)

    ranks = [rank_rows(rank) for rank in range(num_ranks)]
    return assemble(ranks, looping_placement(num_ranks, 1), num_microbatches)
