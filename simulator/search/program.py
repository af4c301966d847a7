"""The passes of a schedule, sorted by level, as arrays that many rows of durations run through."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from simulator.numeric import IntArray
from simulator.schedule.action import Phase, Schedule
from simulator.schedule.dry_run import dry_run, message_source


@dataclass(frozen=True, slots=True)
class Levels:
    """Passes, level after level: a pass needs only passes of earlier levels.

    Attributes:
        bounds: first pass of every level, and the end.
        before: [passes], previous pass of the rank; see ``Program`` for the first.
        needs: [passes], pass of another rank whose result it waits for.
        duration: [passes], row of the durations: ``phase * stages + stage``.
        stream: [passes], where its result leaves: ``3 * rank``, plus 1 forward, 2 backward; plus
            0 if it stays.
        boundary: [passes], row of the sends; the last row if it stays.
    """

    bounds: tuple[int, ...]
    before: IntArray
    needs: IntArray
    duration: IntArray
    stream: IntArray
    boundary: IntArray

    @property
    def num_levels(self) -> int:
        """Levels."""
        return len(self.bounds) - 1


@dataclass(frozen=True, slots=True)
class Program:
    """All passes of a step.

    Attributes:
        num_passes: ``before`` is this for the first pass of a rank, and ``needs`` one more where
            nothing is waited for.
        cut: level -> (pass, stage) of the passes that complete a stage's gradients.
        opens: level -> (pass, stage) of the first forwards of the stages.
        first_pass, last_pass: [ranks].
    """

    num_passes: int
    levels: Levels
    cut: dict[int, list[tuple[int, int]]]
    opens: dict[int, list[tuple[int, int]]]
    first_pass: IntArray
    last_pass: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class ScheduleKey:
    """A schedule as a key of the cache: by identity, for ``build_schedule`` keeps it."""

    schedule: Schedule

    def __hash__(self) -> int:
        return id(self.schedule)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScheduleKey) and other.schedule is self.schedule


@lru_cache(maxsize=8)
def program(schedule_key: ScheduleKey) -> Program:
    """The program of a schedule; see ``Program``."""
    schedule = schedule_key.schedule
    num_ranks, per_rank = schedule.phase.shape
    count = num_ranks * per_rank
    flat: IntArray = np.arange(count, dtype=np.int64).reshape(num_ranks, per_rank)
    phase, stage = schedule.phase.ravel(), schedule.stage.ravel()
    # Without messages that take time a pass of one second ends at its level plus one.
    level = dry_run(schedule, 1.0, 1.0, 1.0).end.ravel().astype(np.int64) - 1
    order = np.argsort(level, kind="stable")
    place = np.empty(count + 1, dtype=np.int64)
    place[order] = np.arange(count)
    place[-1] = count + 1
    is_first = np.zeros(count, dtype=np.bool_)
    is_first[flat[:, 0]] = True
    before = place[order - 1]
    before[is_first[order]] = count
    source = message_source(schedule)
    # A pass of the same rank has ended: only messages from other ranks need waiting.
    source[source // per_rank == np.arange(num_ranks)[:, None]] = -1
    stream, boundary = _ways_out(schedule)
    last_phase = Phase.W if schedule.splits_backward else Phase.B
    final = schedule.microbatch.ravel() == schedule.num_microbatches - 1
    cut = np.flatnonzero((phase == last_phase) & final)
    forwards = np.flatnonzero(phase == Phase.F)
    _, firsts = np.unique(stage[forwards], return_index=True)
    bounds = np.concatenate(([0], np.cumsum(np.bincount(level))))
    return Program(
        num_passes=count,
        levels=Levels(
            bounds=tuple(bounds.tolist()),
            before=before,
            needs=place[source.ravel()[order]],
            duration=(phase * schedule.num_stages + stage)[order],
            stream=stream[order],
            boundary=boundary[order],
        ),
        cut=_by_level(cut, level, place, stage),
        opens=_by_level(forwards[firsts], level, place, stage),
        first_pass=place[flat[:, 0]],
        last_pass=place[flat[:, -1]],
    )


def _ways_out(schedule: Schedule) -> tuple[IntArray, IntArray]:
    """Stream and boundary of every pass, see ``Levels``, in the order of the schedule."""
    phase, stage, rank_of = schedule.phase.ravel(), schedule.stage.ravel(), schedule.stage_rank
    target = np.where(phase == Phase.F, stage + 1, np.where(phase == Phase.B, stage - 1, -1))
    inside = (target >= 0) & (target < schedule.num_stages)
    leaves = inside & (rank_of[np.where(inside, target, 0)] != rank_of[stage])
    stream = 3 * rank_of[stage] + leaves * (1 + (phase == Phase.B))
    boundary = np.where(leaves, np.minimum(stage, target), schedule.num_stages - 1)
    return stream, boundary


def _by_level(
    ops: IntArray, level: IntArray, place: IntArray, stage: IntArray
) -> dict[int, list[tuple[int, int]]]:
    """Level -> (pass in the order of the levels, stage) of some passes of the schedule."""
    found: dict[int, list[tuple[int, int]]] = {}
    for op in ops.tolist():
        found.setdefault(int(level[op]), []).append((int(place[op]), int(stage[op])))
    return found
