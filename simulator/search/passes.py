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
from simulator.schedule.dry_run import message_source
from simulator.workload.levels import op_levels

_CHUNK_BYTES = 64 * 2**20
"""Memory for the end times of one chunk of rows."""


@dataclass(frozen=True, slots=True)
class Program:
    """Passes, and sends where they overlap, sorted by level.

    Attributes:
        bounds: first op of every level, and the end.
        before: [ops], previous op of the stream; where there is none the row that holds when the
            rank's compute stream begins (``num_ops``) or zero (``num_ops + 1``).
        needs: [ops], op whose result it waits for; ``num_ops + 1`` for none.
        duration: [ops], row of the durations: ``phase * stages + stage``, sends after all passes.
        cut: level -> (op, stage) of the passes that complete a stage's gradients.
        opens: level -> (op, stage) of the first forwards of the stages.
        last_pass: [ranks], op that ends a rank's passes.
        first_pass: [ranks].
    """

    num_ops: int
    bounds: tuple[int, ...]
    before: IntArray
    needs: IntArray
    duration: IntArray
    cut: dict[int, list[tuple[int, int]]]
    opens: dict[int, list[tuple[int, int]]]
    last_pass: IntArray
    first_pass: IntArray


@lru_cache(maxsize=8)
def program(schedule_key: ScheduleKey, *, sends: bool) -> Program:
    """The program of a schedule; see ``Program``."""
    schedule = schedule_key.schedule
    num_ranks, per_rank = schedule.phase.shape
    num_passes, stages = num_ranks * per_rank, schedule.num_stages
    flat = np.arange(num_passes).reshape(num_ranks, per_rank)
    before = np.where(np.arange(per_rank) > 0, flat - 1, -1).ravel()
    needs = message_source(schedule).ravel()
    duration = (schedule.phase * stages + schedule.stage).ravel()
    if sends:
        before, needs, duration = _with_sends(schedule, before, needs, duration)
    num_ops = needs.size
    waits = np.flatnonzero((needs >= 0) & (needs != before))
    level = op_levels(waits, needs[waits], before)
    order = np.argsort(level, kind="stable")
    place = np.empty(num_ops + 1, dtype=np.int64)
    place[order] = np.arange(num_ops)
    place[-1] = num_ops + 1
    is_pass = order < num_passes
    sorted_before = np.where(
        (before[order] < 0) & is_pass, num_ops, place[np.maximum(before[order], -1)]
    )
    bounds = np.concatenate(([0], np.cumsum(np.bincount(level))))
    phase, stage = schedule.phase.ravel(), schedule.stage.ravel()
    last_phase = Phase.W if schedule.splits_backward else Phase.B
    final = schedule.microbatch.ravel() == schedule.num_microbatches - 1
    cut = np.flatnonzero((phase == last_phase) & final)
    forwards = np.flatnonzero(phase == Phase.F)
    _, firsts = np.unique(stage[forwards], return_index=True)
    opens = forwards[firsts]
    return Program(
        num_ops=num_ops,
        bounds=tuple(bounds.tolist()),
        before=sorted_before,
        needs=place[needs[order]],
        duration=duration[order],
        cut=_by_level(cut, level, place, stage),
        opens=_by_level(opens, level, place, stage),
        last_pass=place[flat[:, -1]],
        first_pass=place[flat[:, 0]],
    )


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


def _with_sends(
    schedule: Schedule, before: IntArray, needs: IntArray, duration: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Adds an op after every pass whose result leaves its rank, on a stream per direction."""
    phase, stage = schedule.phase.ravel(), schedule.stage.ravel()
    rank_of = schedule.stage_rank
    stages, per_rank = schedule.num_stages, schedule.phase.shape[1]
    target = np.where(phase == Phase.F, stage + 1, np.where(phase == Phase.B, stage - 1, -1))
    inside = (target >= 0) & (target < stages)
    leaves = inside & (rank_of[np.where(inside, target, 0)] != rank_of[stage])
    sources = np.flatnonzero(leaves)
    ids = np.full(before.size + 1, -1, dtype=np.int64)
    ids[sources] = before.size + np.arange(sources.size)
    # A message that leaves its rank arrives with its send.
    source = needs
    crosses = (source >= 0) & leaves[source] & (stage == target[source])
    arrived = np.where(crosses, ids[source], needs)
    # Sends of one rank and direction go in the order of their passes.
    stream = (sources // per_rank) * 2 + (phase[sources] == Phase.B)
    by_stream = np.argsort(stream, kind="stable")
    previous = np.full(sources.size, -1, dtype=np.int64)
    together = stream[by_stream][1:] == stream[by_stream][:-1]
    previous[by_stream[1:][together]] = ids[sources[by_stream[:-1][together]]]
    boundary = np.where(phase[sources] == Phase.F, stage[sources], stage[sources] - 1)
    return (
        np.concatenate((before, previous)),
        np.concatenate((arrived, sources)),
        np.concatenate((duration, 3 * stages + boundary)),
    )


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
    sends: bool,
    beside: Beside | None = None,
) -> Ends:
    """When every rank ends its passes.

    Args:
        schedule: order of the passes.
        duration_s: [3 * stages + boundaries, rows], see ``Program.duration``.
        begin_s: when the compute streams begin their passes.
        sends: sends are ops beside compute; else they are part of the passes.
        beside: reductions and gathers that overlap.
    """
    made = program(ScheduleKey(schedule), sends=sends)
    rows = duration_s.shape[1]
    chunk = max(1, _CHUNK_BYTES // (8 * made.num_ops))
    parts = [
        _solve(
            schedule,
            made,
            np.ascontiguousarray(duration_s[:, first : first + chunk]),
            begin_s,
            _rows_of(beside, first, first + chunk),
        )
        for first in range(0, rows, chunk)
    ]
    return Ends(
        *(np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True)),
    )


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
    schedule: Schedule, made: Program, duration_s: FloatArray, begin_s: float, beside: Beside | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    num_ops, rows = made.num_ops, duration_s.shape[1]
    end_s = np.empty((num_ops + 2, rows))
    end_s[num_ops], end_s[num_ops + 1] = begin_s, 0.0
    data_s = np.zeros((schedule.num_ranks, rows)) if beside is None else beside.stream_s
    gathered = None if beside is None else beside.gathered_s
    before, needs, duration, bounds = made.before, made.needs, made.duration, made.bounds
    for level in range(len(bounds) - 1):
        first, last = bounds[level], bounds[level + 1]
        ready_s = end_s[first:last]
        end_s.take(before[first:last], axis=0, out=ready_s, mode="clip")
        np.maximum(ready_s, end_s.take(needs[first:last], axis=0), out=ready_s)
        if gathered is not None and level in made.opens:
            for op, stage in made.opens[level]:
                np.maximum(end_s[op], gathered[stage], out=end_s[op])
        if beside is None or level not in made.cut:
            ready_s += duration_s.take(duration[first:last], axis=0)
            continue
        cut = [(op, stage, end_s[op].copy()) for op, stage in made.cut[level]]
        ready_s += duration_s.take(duration[first:last], axis=0)
        for op, stage, ready in cut:
            rank = int(schedule.stage_rank[stage])
            end_s[op] = _reduce_beside(ready, stage, data_s[rank], beside)
    first_pass = made.first_pass
    starts = np.maximum(end_s[made.before[first_pass]], end_s[made.needs[first_pass]])
    if gathered is not None:
        stage_of = schedule.stage[:, 0]
        starts = np.maximum(starts, gathered[stage_of])
    return starts, end_s[made.last_pass], data_s


def _reduce_beside(
    end_s: FloatArray, stage: int, stream_s: FloatArray, beside: Beside
) -> FloatArray:
    """The last backward of a stage piece by piece, a reduction after each; returns its end."""
    pieces = beside.pieces[stage]
    for piece in range(int(pieces.max())):
        step = np.where(piece == pieces - 1, beside.last_piece_s[stage], beside.piece_s[stage])
        there = piece < pieces
        end_s = np.where(there, end_s + step, end_s)
        reduced = np.maximum(stream_s, end_s) + beside.reduce_s[stage]
        stream_s[:] = np.where(there, reduced, stream_s)
    return end_s
