"""Building a schedule from rounds: every rank repeats a short pattern of lanes.

All schedules here are a few such runs per rank. In round t the lane ``Lane(F, chunk, first)`` is
the forward of microbatch ``first + t``; microbatches that do not exist are left out, so warm-up,
steady state and cool-down need no special cases and small m is only a longer schedule restricted
to its first microbatches. Restricting keeps a schedule deadlock-free, because microbatches never
depend on one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from simulator.errors import ScheduleError
from simulator.numeric import IntArray
from simulator.schedule.action import Phase, Schedule


class Lane(NamedTuple):
    """One action per round: ``phase`` of the rank's ``chunk`` on microbatch ``first + round``."""

    phase: Phase
    chunk: int
    first: int


def weave(rounds: int, *lanes: Lane) -> IntArray:
    """``rounds`` rounds of the ``lanes`` in turn: rows (phase, chunk, microbatch). [actions, 3]."""
    table = np.empty((max(rounds, 0), len(lanes), 3), dtype=np.int64)
    turn = np.arange(table.shape[0])
    for column, lane in enumerate(lanes):
        table[:, column, 0] = lane.phase
        table[:, column, 1] = lane.chunk
        table[:, column, 2] = lane.first + turn
    return table.reshape(-1, 3)


def existing(rows: IntArray, num_microbatches: int) -> IntArray:
    """The rows whose microbatch exists, in order. [actions, 3]."""
    microbatch = rows[:, 2]
    return rows[(microbatch >= 0) & (microbatch < num_microbatches)]


def assemble(ranks: Sequence[IntArray], stage_rank: IntArray, num_microbatches: int) -> Schedule:
    """The schedule in which rank r runs the rows (phase, chunk, microbatch) of ``ranks[r]``.

    Args:
        ranks: [actions, 3] per rank, equally long.
        stage_rank: [stages], the rank of every stage; a rank's chunks are its stages in model
            order.
        num_microbatches: m.
    """
    num_ranks = len(ranks)
    rows = np.stack(ranks)
    stage_of_chunk = np.argsort(stage_rank, kind="stable").reshape(num_ranks, -1)
    return Schedule(
        num_ranks=num_ranks,
        num_chunks=stage_of_chunk.shape[1],
        num_microbatches=num_microbatches,
        phase=np.ascontiguousarray(rows[..., 0]),
        stage=np.take_along_axis(stage_of_chunk, rows[..., 1], axis=1),
        microbatch=np.ascontiguousarray(rows[..., 2]),
        stage_rank=stage_rank,
        splits_backward=bool((rows[..., 0] == Phase.W).any()),
        joins_before_optimizer=not bool((rows[..., 0] == Phase.W).any()),
    )


def require_sizes(num_ranks: int, num_microbatches: int) -> None:
    """Check that there is something to schedule.

    Raises:
        ScheduleError: if there is no rank or no microbatch.
    """
    if num_ranks < 1 or num_microbatches < 1:
        raise ScheduleError(
            f"a schedule needs ranks and microbatches: got {num_ranks} pipeline ranks and "
            f"{num_microbatches} microbatches",
            hint="global_batch_size / (dp * micro_batch_size) and pp must both be at least 1",
        )


def require_chunks(schedule: str, num_chunks: int, expected: int) -> None:
    """Check the number of virtual stages per rank.

    Raises:
        ScheduleError: if ``num_chunks`` is not what the schedule is made for.
    """
    if num_chunks != expected:
        raise ScheduleError(
            f"schedule '{schedule}' needs {expected} virtual stage(s) per rank, got {num_chunks}",
            where="plan.virtual_stages",
            hint=f"set plan.virtual_stages to {expected}"
            + ("; or plan.schedule to 'interleaved'" if num_chunks > 1 else ""),
        )
