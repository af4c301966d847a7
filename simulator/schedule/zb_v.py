"""ZB-V: zero bubble with the memory of 1F1B, from two chunks per rank placed in a V.

Rank r holds stages r and 2p - 1 - r, so the first rank also has the last stage: backwards begin
where forwards begin, and early forwards are released early.

Source: Qi et al. 2024 (arXiv 2401.10241), section 6; the V of building blocks is explained in
"Pipeline Parallelism with Controllable Memory" (arXiv 2405.15362). The order here is made by
hand for F = B = W, where the authors search one for measured durations.
"""

from __future__ import annotations

import numpy as np

from simulator.numeric import IntArray
from simulator.schedule.action import Phase, Schedule, v_placement
from simulator.schedule.weave import (
    Lane,
    assemble,
    existing,
    require_chunks,
    require_sizes,
    weave,
)


def zb_v(num_ranks: int, num_microbatches: int, num_chunks: int) -> Schedule:
    """ZB-V: holds 2p chunks (p whole ranks' worth, as 1F1B); no bubble for F = B = W, m >= 2p - 1.

    As with ZB-H2, rank r starts and ends later than rank 0, so the bubble is zero only when steps
    follow one another without a barrier.

    Raises:
        ScheduleError: if a size is not positive or ``num_chunks`` is not 2.
    """
    require_sizes(num_ranks, num_microbatches)
    require_chunks("zb-v", num_chunks, 2)
    # The pattern needs 2p - 1 microbatches to unfold; fewer are the first ones of that schedule.
    unfolded = max(num_microbatches, 2 * num_ranks - 1)
    ranks = [
        existing(_rank_rows(rank, num_ranks, unfolded), num_microbatches)
        for rank in range(num_ranks)
    ]
    return assemble(ranks, v_placement(num_ranks), num_microbatches)


def _rank_rows(rank: int, num_ranks: int, m: int) -> IntArray:
    """Rows (phase, chunk, microbatch) of one rank, for m >= 2p - 1."""
    f, b, w = Phase.F, Phase.B, Phase.W
    ahead = 2 * (num_ranks - rank) - 1
    below = num_ranks - rank
    rows = [
        # Warm-up: chunk 0 alone until the first microbatch comes back up the V, then both
        # chunks, then chunk 1 runs whole microbatches until the gradient comes back down.
        weave(ahead, Lane(f, 0, 0)),
        weave(rank, Lane(f, 1, 0), Lane(f, 0, ahead)),
        weave(below, Lane(f, 1, rank), Lane(b, 1, 0), Lane(w, 1, 0)),
        # Steady state: one whole microbatch of each chunk per round.
        weave(
            m - num_ranks,
            Lane(f, 0, ahead + rank),
            Lane(b, 0, 0),
            Lane(w, 0, 0),
            Lane(f, 1, num_ranks),
            Lane(b, 1, below),
            Lane(w, 1, below),
        ),
        # Cool-down: backwards of inputs first, for others wait for them; weights fill the gaps.
        weave(rank, Lane(b, 0, m - num_ranks), Lane(b, 1, m - rank)),
        weave(below, Lane(b, 0, m - below), Lane(w, 0, m - num_ranks)),
        weave(rank, Lane(w, 1, m - rank)),
        weave(rank, Lane(w, 0, m - rank)),
    ]
    return existing(np.concatenate(rows), m)
