"""GPipe: all forwards, then all backwards."""

from __future__ import annotations

import numpy as np

from simulator.schedule.action import Phase, Schedule, looping_placement
from simulator.schedule.weave import Lane, assemble, require_chunks, require_sizes, weave


def gpipe(num_ranks: int, num_microbatches: int, num_chunks: int) -> Schedule:
    """Every rank runs m forwards, then m backwards. Bubble (p - 1)(F + B); holds m microbatches.

    Backwards run in the order of the forwards; the reverse order takes as long and holds as much.

    Source: Huang et al. 2019 (arXiv 1811.06965), figure 2.

    Raises:
        ScheduleError: if a size is not positive or ``num_chunks`` is not 1.
    """
    require_sizes(num_ranks, num_microbatches)
    require_chunks("gpipe", num_chunks, 1)
    rows = np.concatenate(
        [
            weave(num_microbatches, Lane(Phase.F, 0, 0)),
            weave(num_microbatches, Lane(Phase.B, 0, 0)),
        ]
    )
    return assemble([rows] * num_ranks, looping_placement(num_ranks, 1), num_microbatches)
