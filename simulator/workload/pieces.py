"""The passes of a schedule as one list of ops, cut where something interleaves with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.numeric import FloatArray, IntArray
from simulator.schedule.action import Schedule


@dataclass(frozen=True, slots=True)
class Pieces:
    """Every piece of every pass, rank after rank, each rank in its schedule's order.

    Attributes:
        rank, phase, stage, microbatch: [pieces] labels.
        index, count: [pieces], which of how many pieces of its pass.
        order: [pieces], place in the rank's compute stream, one apart: 0, 1, 2, ...
        first, last: [phases, stages, microbatches], index of a pass's first and last piece, -1
            where the schedule has no such pass.
        end: a place after all passes of any rank.
    """

    rank: IntArray
    phase: IntArray
    stage: IntArray
    microbatch: IntArray
    index: IntArray
    count: IntArray
    order: FloatArray
    first: IntArray
    last: IntArray
    end: float


def cut_into_pieces(schedule: Schedule, counts: IntArray) -> Pieces:
    """Cuts passes into equal pieces.

    Args:
        schedule: the passes.
        counts: [phases, stages, microbatches], pieces of every pass, at least 1.
    """
    shape = (3, schedule.num_stages, schedule.num_microbatches)
    real = schedule.phase >= 0
    rank = np.broadcast_to(np.arange(schedule.num_ranks)[:, None], schedule.phase.shape)[real]
    phase, stage = schedule.phase[real], schedule.stage[real]
    microbatch = schedule.microbatch[real]
    per_pass = counts[phase, stage, microbatch]
    ends = np.cumsum(per_pass)
    starts = ends - per_pass
    first, last = np.full(shape, -1), np.full(shape, -1)
    first[phase, stage, microbatch] = starts
    last[phase, stage, microbatch] = ends - 1

    of_pass = np.repeat(np.arange(per_pass.size), per_pass)
    position = np.arange(of_pass.size)
    rank_start = np.searchsorted(rank[of_pass], np.arange(schedule.num_ranks))
    order = (position - rank_start[rank[of_pass]]).astype(np.float64)
    return Pieces(
        rank=rank[of_pass],
        phase=phase[of_pass],
        stage=stage[of_pass],
        microbatch=microbatch[of_pass],
        index=position - starts[of_pass],
        count=per_pass[of_pass],
        order=order,
        first=first,
        last=last,
        end=float(order.max(initial=0.0)) + 1.0,
    )
