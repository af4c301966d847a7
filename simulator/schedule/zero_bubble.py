"""Zero-bubble schedules ZB-H1, ZB-H2 and ZB-2p: the backward of weights fills the bubbles.

The backward is split into B (of inputs, which the previous stage waits for) and W (of weights,
which nobody waits for). Rank r runs its warm-up forwards, then rounds of B, W, F, with W lagging
behind B: the later the rank, the fewer its warm-up forwards and the more weight passes it saves
for the end, where it would idle. The orders are fixed by hand, whatever the real durations are.

Source: Qi et al. 2024 (arXiv 2401.10241), sections 2.1 and 2.2, figure 3, table 1.
"""

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


def zb_h1(num_ranks: int, num_microbatches: int, num_chunks: int) -> Schedule:
    """ZB-H1: p - r warm-up forwards, W lags r behind. Holds p as 1F1B; bubble (p - 1)(F + B - W).

    For W <= F, B; the searched schedule ZB-1p (section 3) comes to the same bubble.

    Raises:
        ScheduleError: if a size is not positive or ``num_chunks`` is not 1.
    """
    require_sizes(num_ranks, num_microbatches)
    require_chunks("zb-h1", num_chunks, 1)
    ranks = [_rank_rows(num_ranks - rank, rank, num_microbatches) for rank in range(num_ranks)]
    return assemble(ranks, looping_placement(num_ranks, 1), num_microbatches)


def zb_h2(num_ranks: int, num_microbatches: int, num_chunks: int) -> Schedule:
    """ZB-H2: 2(p - r) - 1 warm-up forwards, W lags 2r. Holds 2p - 1; bubble (p - 1)(F + B - 2W).

    For W <= F, B and m >= 2p - 1. Rank r starts and ends r forwards later than rank 0: its bubble
    is zero only when steps follow one another without a barrier (the paper's optimizer
    post-validation). Within one step and a barrier it takes as long as ZB-H1.

    Raises:
        ScheduleError: if a size is not positive or ``num_chunks`` is not 1.
    """
    require_sizes(num_ranks, num_microbatches)
    require_chunks("zb-h2", num_chunks, 1)
    ranks = [
        _rank_rows(2 * (num_ranks - rank) - 1, 2 * rank, num_microbatches)
        for rank in range(num_ranks)
    ]
    return assemble(ranks, looping_placement(num_ranks, 1), num_microbatches)


def zb_2p(num_ranks: int, num_microbatches: int, num_chunks: int) -> Schedule:
    """ZB-2p: as ZB-H2, but W lags up to 3r, which fills the bubble as long as 3W >= F + B.

    Stands for the schedule that the paper's search finds for the real durations, where W is
    shorter than F and B: bubble (p - 1) max(0, F + B - 3W) for F = B and m >= 3p - 2. With fewer
    microbatches the lag is shorter, for a rank cannot end with more than m - 1 weight passes.

    Holds up to 3p - 2 microbatches if W needs all of an activation, and no more than ZB-H2 if it
    needs at most two thirds (attention scores and dropout masks are of no use to W).

    Source: arXiv 2401.10241, section 3. Departure: no search. The paper finds bubbles of 0.2 to
    0.7 % for its models of 6.2B to 28.3B (table 5); with their durations there is none here.

    Raises:
        ScheduleError: if a size is not positive or ``num_chunks`` is not 1.
    """
    require_sizes(num_ranks, num_microbatches)
    require_chunks("zb-2p", num_chunks, 1)

    def weight_lag(rank: int) -> int:
        # In proportion to the rank, so that rank p - 1 puts off at most m - 1 weight passes.
        possible = rank * (num_microbatches - 1) // max(num_ranks - 1, 1)
        return min(max(possible, 2 * rank), 3 * rank)

    ranks = [
        _rank_rows(2 * (num_ranks - rank) - 1, weight_lag(rank), num_microbatches)
        for rank in range(num_ranks)
    ]
    return assemble(ranks, looping_placement(num_ranks, 1), num_microbatches)


def _rank_rows(warmup: int, weight_lag: int, num_microbatches: int) -> IntArray:
    """``warmup`` forwards, then rounds of B, W, F. At most ``warmup + weight_lag`` are held."""
    rows = [
        weave(warmup, Lane(Phase.F, 0, 0)),
        weave(
            num_microbatches + weight_lag,
            Lane(Phase.B, 0, 0),
            Lane(Phase.W, 0, -weight_lag),
            Lane(Phase.F, 0, warmup),
        ),
    ]
    return existing(np.concatenate(rows), num_microbatches)
