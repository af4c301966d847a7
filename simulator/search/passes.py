"""The passes of a schedule, solved for many rows of durations at once.

The same longest path as ``engine/maxplus`` finds in the whole graph: streams in order,
``end = max(end of dependencies) + duration``, with the batch as the last axis. What does not
depend on how passes interleave (reductions at the end, the optimizer) is left to ``step_time``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.numeric import FloatArray, IntArray
from simulator.schedule.action import Schedule
from simulator.search.program import Levels, Program, ScheduleKey, program
from simulator.search.steady import Period, after_periods
from simulator.search.stream import served_s

_CHUNK_BYTES = 8 * 2**20
"""Memory for the end times of one chunk of rows: what stays in a cache, and what the system need
not clear anew. From 64 MiB to 8 a search takes an eighth less time, from 8 to 2 a third more.
Source: benchmarks/speed/bench_search.py."""


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

    def part(self, rows: slice) -> Beside:
        """Some of the rows."""
        return Beside(
            None if self.gathered_s is None else self.gathered_s[:, rows],
            self.reduce_s[:, rows],
            self.piece_s[:, rows],
            self.last_piece_s[:, rows],
            self.pieces[:, rows],
            self.stream_s[:, rows].copy(),
        )


@dataclass(frozen=True, slots=True)
class Ends:
    """[ranks, rows]: start of a rank's first pass, end of its last, end of its reductions."""

    first_start_s: FloatArray
    compute_s: FloatArray
    data_s: FloatArray

    def take(self, rows: IntArray) -> Ends:
        """Some of the rows, in any order."""
        return Ends(self.first_start_s[:, rows], self.compute_s[:, rows], self.data_s[:, rows])

    @classmethod
    def joined(cls, parts: Sequence[Ends]) -> Ends:
        """The rows of all parts, one after the other."""
        return cls(
            np.concatenate([part.first_start_s for part in parts], axis=1),
            np.concatenate([part.compute_s for part in parts], axis=1),
            np.concatenate([part.data_s for part in parts], axis=1),
        )


@dataclass(frozen=True, slots=True)
class More:
    """Microbatches beyond those of the schedule.

    Attributes:
        period: what they repeat.
        count: [rows], periods.
    """

    period: Period
    count: IntArray


@dataclass(frozen=True, slots=True)
class Work:
    """What the passes of every row take.

    Attributes:
        duration_s: [3 * stages, rows], see ``Levels.duration``.
        send_s: [stages, rows], sends beside compute to the next stage, 0 in the last row and
            where there are none; None if no row has any.
        beside: reductions and gathers that overlap.
        more: None if all rows have as many microbatches as the schedule.
    """

    duration_s: FloatArray
    send_s: FloatArray | None = None
    beside: Beside | None = None
    more: More | None = None

    def part(self, first: int, end: int) -> Work:
        """Some of the rows."""
        rows = slice(first, end)
        return Work(
            np.ascontiguousarray(self.duration_s[:, rows]),
            None if self.send_s is None else np.ascontiguousarray(self.send_s[:, rows]),
            None if self.beside is None else self.beside.part(rows),
            None if self.more is None else More(self.more.period, self.more.count[rows]),
        )


def solve_passes(schedule: Schedule, work: Work, begin_s: float) -> Ends:
    """When every rank ends its passes.

    Args:
        schedule: order of the passes.
        work: what they take.
        begin_s: when the compute streams begin their passes.
    """
    made = program(ScheduleKey(schedule))
    chunk = max(1, _CHUNK_BYTES // (8 * made.num_passes))
    return Ends.joined(
        [
            _solve(schedule, made, work.part(first, first + chunk), begin_s)
            for first in range(0, work.duration_s.shape[1], chunk)
        ]
    )


@dataclass(frozen=True, slots=True)
class _Times:
    """[..., rows]: ends of passes, arrival of their results, and when the sending streams are free.

    ``arrived_s`` is ``end_s`` where nothing is sent beside compute.
    """

    end_s: FloatArray
    arrived_s: FloatArray
    sent_s: FloatArray


def _solve(schedule: Schedule, made: Program, work: Work, begin_s: float) -> Ends:
    count, rows = made.num_passes, work.duration_s.shape[1]
    end_s = np.empty((count + 2, rows))
    end_s[count], end_s[count + 1] = begin_s, 0.0
    arrived_s = end_s
    if work.send_s is not None:
        arrived_s = np.empty_like(end_s)
        arrived_s[count + 1] = 0.0
    times = _Times(end_s, arrived_s, np.zeros((3 * schedule.num_ranks, rows)))
    beside = work.beside
    data_s = np.zeros((schedule.num_ranks, rows)) if beside is None else beside.stream_s
    gathered = None if beside is None else beside.gathered_s
    for level in range(made.levels.num_levels):
        if work.more is not None and level == work.more.period.level:
            _insert_periods(times, made.levels.bounds[level], work, work.more)
        now_s = _begin_level(made.levels, level, times)
        if gathered is not None and level in made.opens:
            for op, stage in made.opens[level]:
                np.maximum(end_s[op], gathered[stage], out=end_s[op])
        cut = [] if beside is None else made.cut.get(level, [])
        ready = [end_s[op].copy() for op, _ in cut]
        now_s += work.duration_s.take(_here(made.levels, level, made.levels.duration), axis=0)
        for (op, stage), ready_s in zip(cut, ready, strict=True):
            if beside is not None:
                stream_s = data_s[int(schedule.stage_rank[stage])]
                end_s[op] = _reduce_beside(ready_s, stage, stream_s, beside)
        if work.send_s is not None:
            _send(made.levels, level, times, work.send_s)
    first_pass, levels = made.first_pass, made.levels
    starts = np.maximum(end_s[levels.before[first_pass]], arrived_s[levels.needs[first_pass]])
    if gathered is not None:
        starts = np.maximum(starts, gathered[schedule.stage[:, 0]])
    return Ends(starts, end_s[made.last_pass], data_s)


def _here(levels: Levels, level: int, values: IntArray) -> IntArray:
    return values[levels.bounds[level] : levels.bounds[level + 1]]


def _begin_level(levels: Levels, level: int, times: _Times) -> FloatArray:
    """When the passes of a level begin, where their ends will be. [passes of it, rows]."""
    now_s = times.end_s[levels.bounds[level] : levels.bounds[level + 1]]
    # "clip" never clips here; the other modes copy when given an ``out``.
    times.end_s.take(_here(levels, level, levels.before), axis=0, out=now_s, mode="clip")
    arrived_s = times.arrived_s.take(_here(levels, level, levels.needs), axis=0)
    return np.maximum(now_s, arrived_s, out=now_s)


def _send(levels: Levels, level: int, times: _Times, send_s: FloatArray) -> None:
    """A stream of sends goes in the order of the passes; what stays is there at once."""
    here = slice(levels.bounds[level], levels.bounds[level + 1])
    stream = levels.stream[here]
    out_s = np.maximum(times.sent_s.take(stream, axis=0), times.end_s[here])
    out_s += send_s.take(levels.boundary[here], axis=0)
    times.sent_s[stream] = times.arrived_s[here] = out_s


def _insert_periods(times: _Times, end: int, work: Work, more: More) -> None:
    """Moves the last passes before ``end`` on by the periods that a row has more."""
    period = more.period
    window = slice(end - period.window, end)
    parts = [times.end_s[window]]
    if work.send_s is not None:
        parts += [times.arrived_s[window], times.sent_s[period.streams]]
    after_s = after_periods(np.concatenate(parts), more.count, _period_of(period, work))
    times.end_s[window] = after_s[: period.window]
    if work.send_s is not None:
        times.arrived_s[window] = after_s[period.window : 2 * period.window]
        times.sent_s[period.streams] = after_s[2 * period.window :]


def _period_of(
    period: Period, work: Work
) -> Callable[[IntArray], Callable[[FloatArray], FloatArray]]:
    """Rows -> what advances their last passes and streams by a period."""
    window, levels, streams = period.window, period.levels, period.streams
    size = levels.bounds[-1]

    def rows_of(rows: IntArray) -> Callable[[FloatArray], FloatArray]:
        duration_s = work.duration_s[:, rows]
        send_s = None if work.send_s is None else work.send_s[:, rows]
        end_s = np.zeros((size + 1, rows.size))
        arrived_s = end_s if send_s is None else np.zeros_like(end_s)
        times = _Times(end_s, arrived_s, np.zeros((int(streams.max()) + 1, rows.size)))

        def advance(state_s: FloatArray) -> FloatArray:
            end_s[:window] = state_s[:window]
            if send_s is not None:
                arrived_s[:window] = state_s[window : 2 * window]
                times.sent_s[streams] = state_s[2 * window :]
            for level in range(levels.num_levels):
                now_s = _begin_level(levels, level, times)
                now_s += duration_s.take(_here(levels, level, levels.duration), axis=0)
                if send_s is not None:
                    _send(levels, level, times, send_s)
            last = slice(size - window, size)
            if send_s is None:
                return end_s[last].copy()
            return np.concatenate((end_s[last], arrived_s[last], times.sent_s[streams]))

        return advance

    return rows_of


def _reduce_beside(
    end_s: FloatArray, stage: int, stream_s: FloatArray, beside: Beside
) -> FloatArray:
    """The last backward of a stage piece by piece, a reduction after each; returns its end."""
    before, piece_s = beside.pieces[stage] - 1, beside.piece_s[stage]
    reduce_s = beside.reduce_s[stage]
    reduced_s = served_s(stream_s, end_s + piece_s, piece_s, before, reduce_s)
    end_s = end_s + before * piece_s + beside.last_piece_s[stage]
    stream_s[:] = np.maximum(reduced_s, end_s) + reduce_s
    return end_s
