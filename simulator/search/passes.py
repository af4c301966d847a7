"""The passes of a schedule, solved for many rows of durations at once.

The same longest path as ``engine/maxplus`` finds in the whole graph: streams in order,
``end = max(end of dependencies) + duration``, with the batch as the last axis. What does not
depend on how passes interleave (reductions at the end, the optimizer) is left to ``step_time``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from simulator.numeric import FloatArray, IntArray
from simulator.schedule.action import Phase, Schedule
from simulator.schedule.dry_run import dry_run, message_source

_CHUNK_BYTES = 64 * 2**20
"""Memory for the end times of one chunk of rows."""


@dataclass(frozen=True, slots=True)
class Program:
    """Passes sorted by level.

    Attributes:
        bounds: first pass of every level, and the end.
        before: [passes], previous pass of the rank; ``num_passes`` for the first.
        needs: [passes], pass whose result it waits for; ``num_passes + 1`` for none.
        duration: [passes], row of the durations: ``phase * stages + stage``.
        stream: [passes], where its result leaves: ``3 * rank``, plus 1 forward, 2 backward; plus
            0 if it stays.
        boundary: [passes], row of the sends; the last row if it stays.
        cut: level -> (pass, stage) of the passes that complete a stage's gradients.
        opens: level -> (pass, stage) of the first forwards of the stages.
        first_pass, last_pass: [ranks].
    """

    num_passes: int
    bounds: tuple[int, ...]
    before: IntArray
    needs: IntArray
    duration: IntArray
    stream: IntArray
    boundary: IntArray
    cut: dict[int, list[tuple[int, int]]]
    opens: dict[int, list[tuple[int, int]]]
    first_pass: IntArray
    last_pass: IntArray


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
        bounds=tuple(bounds.tolist()),
        before=before,
        needs=place[source.ravel()[order]],
        duration=(phase * schedule.num_stages + stage)[order],
        stream=stream[order],
        boundary=boundary[order],
        cut=_by_level(cut, level, place, stage),
        opens=_by_level(forwards[firsts], level, place, stage),
        first_pass=place[flat[:, 0]],
        last_pass=place[flat[:, -1]],
    )


def _ways_out(schedule: Schedule) -> tuple[IntArray, IntArray]:
    """Stream and boundary of every pass, see ``Program``, in the order of the schedule."""
    phase, stage, rank_of = schedule.phase.ravel(), schedule.stage.ravel(), schedule.stage_rank
    target = np.where(phase == Phase.F, stage + 1, np.where(phase == Phase.B, stage - 1, -1))
    inside = (target >= 0) & (target < schedule.num_stages)
    leaves = inside & (rank_of[np.where(inside, target, 0)] != rank_of[stage])
    stream = 3 * rank_of[stage] + leaves * (1 + (phase == Phase.B))
    boundary = np.where(leaves, np.minimum(stage, target), schedule.num_stages - 1)
    return stream, boundary


class ScheduleKey:
    """A schedule as a key of the cache: by identity, for ``build_schedule`` keeps it."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def __hash__(self) -> int:
        return id(self.schedule)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScheduleKey) and other.schedule is self.schedule


def _by_level(
    ops: IntArray, level: IntArray, place: IntArray, stage: IntArray
) -> dict[int, list[tuple[int, int]]]:
    found: dict[int, list[tuple[int, int]]] = {}
    for op in ops.tolist():
        found.setdefault(int(level[op]), []).append((int(place[op]), int(stage[op])))
    return found


@dataclass(frozen=True, slots=True)
class Beside:
    """Data-parallel traffic beside the passes.

    Attributes:
        gathered_s: [stages, rows], when a stage's weights are whole; None if they always are.
        reduce_s: [stages, rows], reduction of one piece of the last backward.
        piece_s, last_piece_s: [stages, rows], the pieces of the last backward.
        pieces: [stages, rows].
        stream_s: [ranks, rows], when the data-parallel stream is free.
    """

    gathered_s: FloatArray | None
    reduce_s: FloatArray
    piece_s: FloatArray
    last_piece_s: FloatArray
    pieces: IntArray
    stream_s: FloatArray


@dataclass(frozen=True, slots=True)
class Ends:
    """[ranks, rows]: start of a rank's first pass, end of its last, end of its reductions."""

    first_start_s: FloatArray
    compute_s: FloatArray
    data_s: FloatArray


def solve_passes(
    schedule: Schedule,
    duration_s: FloatArray,
    begin_s: float,
    *,
    send_s: FloatArray | None = None,
    beside: Beside | None = None,
) -> Ends:
    """When every rank ends its passes.

    Args:
        schedule: order of the passes.
        duration_s: [3 * stages, rows], see ``Program.duration``.
        begin_s: when the compute streams begin their passes.
        send_s: [stages, rows], sends beside compute to the next stage, 0 in the last row and
            where there are none; None if no row has any.
        beside: reductions and gathers that overlap.
    """
    made = program(ScheduleKey(schedule))
    rows = duration_s.shape[1]
    chunk = max(1, _CHUNK_BYTES // (8 * made.num_passes))
    parts = [
        _solve(
            schedule,
            made,
            np.ascontiguousarray(duration_s[:, first : first + chunk]),
            begin_s,
            (
                None if send_s is None else np.ascontiguousarray(send_s[:, first : first + chunk]),
                _rows_of(beside, first, first + chunk),
            ),
        )
        for first in range(0, rows, chunk)
    ]
    return Ends(*(np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True)))


def _rows_of(beside: Beside | None, first: int, end: int) -> Beside | None:
    if beside is None:
        return None
    return Beside(
        None if beside.gathered_s is None else beside.gathered_s[:, first:end],
        beside.reduce_s[:, first:end],
        beside.piece_s[:, first:end],
        beside.last_piece_s[:, first:end],
        beside.pieces[:, first:end],
        beside.stream_s[:, first:end].copy(),
    )


def _solve(
    schedule: Schedule,
    made: Program,
    duration_s: FloatArray,
    begin_s: float,
    others: tuple[FloatArray | None, Beside | None],
) -> tuple[FloatArray, FloatArray, FloatArray]:
    send_s, beside = others
    count, rows = made.num_passes, duration_s.shape[1]
    end_s = np.empty((count + 2, rows))
    end_s[count], end_s[count + 1] = begin_s, 0.0
    arrived_s = end_s
    if send_s is not None:
        arrived_s = np.empty_like(end_s)
        arrived_s[count + 1] = 0.0
    sent_s = np.zeros((3 * schedule.num_ranks, rows))
    data_s = np.zeros((schedule.num_ranks, rows)) if beside is None else beside.stream_s
    gathered = None if beside is None else beside.gathered_s
    bounds = made.bounds
    for level in range(len(bounds) - 1):
        here = slice(bounds[level], bounds[level + 1])
        now_s = end_s[here]
        end_s.take(made.before[here], axis=0, out=now_s, mode="clip")
        np.maximum(now_s, arrived_s.take(made.needs[here], axis=0), out=now_s)
        if gathered is not None and level in made.opens:
            for op, stage in made.opens[level]:
                np.maximum(end_s[op], gathered[stage], out=end_s[op])
        cut = [] if beside is None else made.cut.get(level, [])
        ready = [end_s[op].copy() for op, _ in cut]
        now_s += duration_s.take(made.duration[here], axis=0)
        for (op, stage), ready_s in zip(cut, ready, strict=True):
            if beside is not None:
                stream_s = data_s[int(schedule.stage_rank[stage])]
                end_s[op] = _reduce_beside(ready_s, stage, stream_s, beside)
        if send_s is not None:
            # A stream of sends goes in the order of the passes; what stays is there at once.
            stream = made.stream[here]
            out_s = np.maximum(sent_s.take(stream, axis=0), now_s)
            out_s += send_s.take(made.boundary[here], axis=0)
            sent_s[stream] = arrived_s[here] = out_s
    first_pass = made.first_pass
    starts = np.maximum(end_s[made.before[first_pass]], arrived_s[made.needs[first_pass]])
    if gathered is not None:
        starts = np.maximum(starts, gathered[schedule.stage[:, 0]])
    return starts, end_s[made.last_pass], data_s


def _reduce_beside(
    end_s: FloatArray, stage: int, stream_s: FloatArray, beside: Beside
) -> FloatArray:
    """The last backward of a stage piece by piece, a reduction after each; returns its end."""
    pieces = beside.pieces[stage]
    for piece in range(int(pieces.max())):
        last, there = piece == pieces - 1, piece < pieces
        after_s = end_s + beside.piece_s[stage]
        after_s[last] = (end_s + beside.last_piece_s[stage])[last]
        end_s = np.where(there, after_s, end_s)
        reduced = np.maximum(stream_s, end_s) + beside.reduce_s[stage]
        stream_s[:] = np.where(there, reduced, stream_s)
    return end_s
