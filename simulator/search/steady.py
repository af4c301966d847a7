"""The part of a pipeline that repeats: more microbatches are more of the same periods.

The programs of a schedule for m and for m + q microbatches differ by one period of passes in the
middle. Rows of durations that have more microbatches run that period more often; once all their
streams have moved on by the same time, they will do so in every further period, and the rest is
one multiplication. Times are whole ticks (``numeric.whole_ticks``), so that nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from simulator.numeric import FloatArray, IntArray
from simulator.schedule.table import INTERLEAVED, build_schedule
from simulator.search.program import Levels, Program, ScheduleKey, program

_MOST_ROUNDS: Final = 6
"""Most microbatches per rank among which a period is sought. Of p ranks, 1F1B repeats from p + 1
microbatches on, interleaved orders from 3 p, zero-bubble orders from 2 to 4 p; GPipe never does."""


@dataclass(frozen=True, slots=True)
class Period:
    """What a step with more microbatches repeats.

    Attributes:
        num_microbatches: of the smallest step that has a period.
        step: microbatches of a period.
        level: after which it is inserted.
        levels: its passes, after the last ``window`` passes that were before them; where nothing
            is waited for, ``needs`` is the row after all of them.
        window: passes that are looked back on, by the period and by what follows.
    """

    num_microbatches: int
    step: int
    level: int
    levels: Levels
    window: int

    @property
    def streams(self) -> IntArray:
        """Streams that it uses."""
        return np.unique(self.levels.stream[self.window :])


@lru_cache(maxsize=512)
def period_of(schedule: str, num_ranks: int, num_chunks: int) -> Period | None:
    """The period of a schedule; None if none is found.

    Args:
        schedule: name of the schedule.
        num_ranks: pipeline ranks, more than one.
        num_chunks: virtual stages of each.
    """
    step = num_ranks if schedule in INTERLEAVED else 1
    rounds = range(2, _MOST_ROUNDS + 1)
    for count in (num_ranks + step, *(number * num_ranks for number in rounds)):
        made, more = (
            program(ScheduleKey(build_schedule(schedule, num_ranks, m, num_chunks)))
            for m in (count, count + step)
        )
        found = _between(made, more, count, step)
        if found is not None:
            return found
    return None


def representative(schedule: str, num_ranks: int, num_chunks: int, num_microbatches: int) -> int:
    """Microbatches of the step that differs only in periods: ``num_microbatches`` or fewer."""
    if num_ranks == 1:
        return 1
    period = period_of(schedule, num_ranks, num_chunks)
    if period is None or num_microbatches < period.num_microbatches:
        return num_microbatches
    return period.num_microbatches + (num_microbatches - period.num_microbatches) % period.step


def _between(made: Program, more: Program, count: int, step: int) -> Period | None:
    """The period by which one program is longer than the other, if that is all.

    Args:
        made: of ``count`` microbatches.
        more: of ``step`` more.
        count: see ``Period.num_microbatches``.
        step: see ``Period.step``.
    """
    size = more.num_passes - made.num_passes
    short, long = _relative(made), _relative(more)
    differs = np.flatnonzero((short != long[:, : made.num_passes]).any(axis=0))
    same = int(differs[0]) if differs.size else made.num_passes
    bounds = made.levels.bounds
    level = int(np.searchsorted(bounds, same, side="right")) - 1
    end = bounds[level]
    start = end - size
    if start not in bounds or not np.array_equal(short[:, end:], long[:, end + size :]):
        return None
    if not np.array_equal(long[:, start:end], long[:, end : end + size]):
        return None
    first = bounds.index(start)
    if any(at >= first for at in made.opens) or any(at < level for at in made.cut):
        return None
    if not _shifted(made, more, level, size):
        return None
    window = end - _least(made.levels, end, made.num_passes)
    window = max(window, start - _least(made.levels, start, end))
    levels = _extract(made.levels, slice(first, level), start - window)
    return Period(count, step, level, levels, window)


def _relative(made: Program) -> IntArray:
    """What a pass is, and how far back what it needs is. [5, passes]."""
    levels, count = made.levels, made.num_passes
    here = np.arange(count)
    before = np.where(levels.before < count, here - levels.before, -1)
    needs = np.where(levels.needs < count, here - levels.needs, -1)
    return np.stack((levels.duration, levels.stream, levels.boundary, before, needs))


def _shifted(made: Program, more: Program, level: int, size: int) -> bool:
    """Whether the levels of the longer program are those of the other, from ``level`` on later."""
    bounds, longer = made.levels.bounds, more.levels.bounds
    extra = len(longer) - len(bounds)
    moved = tuple(bound + size for bound in bounds[level:])
    return longer[level + extra :] == moved and longer[: level + 1] == bounds[: level + 1]


def _least(levels: Levels, start: int, end: int) -> int:
    """The earliest pass that passes from ``start`` on need."""
    real = levels.needs[start:end]
    real = real[real < levels.needs.size]
    return min(int(levels.before[start:end].min()), int(real.min(initial=start)), start)


def _extract(levels: Levels, span: slice, origin: int) -> Levels:
    """Some levels on their own, with the passes from ``origin`` on before them."""
    bounds = levels.bounds[span.start : span.stop + 1]
    passes = slice(origin, bounds[-1])
    needs = levels.needs[passes]
    nothing = bounds[-1] - origin
    return Levels(
        bounds=tuple(bound - origin for bound in bounds),
        before=levels.before[passes] - origin,
        needs=np.where(needs < levels.needs.size, needs - origin, nothing),
        duration=levels.duration[passes],
        stream=levels.stream[passes],
        boundary=levels.boundary[passes],
    )


def after_periods(
    state_s: FloatArray,
    count: IntArray,
    period: Callable[[IntArray], Callable[[FloatArray], FloatArray]],
) -> FloatArray:
    """Times after some more periods.

    Args:
        state_s: [times, rows], whole ticks: all that the next period depends on.
        count: [rows], periods.
        period: rows -> the function that advances the state of those rows by one period. It is
            homogeneous: later by some time throughout, its result is as much later.

    Returns:
        [times, rows].
    """
    result_s = state_s.copy()
    rows = np.flatnonzero(count > 0)
    now_s, left = state_s[:, rows], count[rows]
    while rows.size:
        advance, done = period(rows), np.zeros(rows.size, dtype=np.bool_)
        shift_s = now_s
        while not done.any():
            before_s, now_s, left = now_s, advance(now_s), left - 1
            shift_s = now_s - before_s
            done = np.asarray((shift_s == shift_s[:1]).all(axis=0) | (left == 0))
        result_s[:, rows[done]] = now_s[:, done] + left[done] * shift_s[:, done]
        rows, now_s, left = rows[~done], now_s[:, ~done], left[~done]
    return result_s
