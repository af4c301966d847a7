"""More microbatches as more periods: equal, to the last bit, to running them all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.numeric import FloatArray, IntArray, whole_ticks
from simulator.schedule.table import INTERLEAVED, SCHEDULES, build_schedule, least_chunks
from simulator.search.passes import More, Work, solve_passes
from simulator.search.steady import after_periods, period_of, representative

PIPELINES = [
    (name, ranks, chunks)
    for name in SCHEDULES
    for ranks in (2, 3, 4, 8)
    for chunks in ((2, 3) if name in INTERLEAVED else (least_chunks(name),))
]
WITHOUT_PERIOD = {"gpipe"}
"""All forwards come first: more microbatches change the step in two places."""


def random_work(
    schedule_name: str, ranks: int, chunks: int, count: IntArray, seed: int, *, sends: bool
) -> Work:
    """Durations of some rows, nearly alike as stages are, and periods for each."""
    random = np.random.default_rng(seed)
    stages = ranks * chunks
    near = random.choice([1e-4, 0.03, 1.0]) * random.random((3 * stages, count.size))
    send_s = whole_ticks(random.choice([1e-3, 0.3]) * random.random((stages, count.size)))
    send_s[-1] = 0.0
    period = period_of(schedule_name, ranks, chunks)
    return Work(
        whole_ticks(random.random(count.size) + near),
        send_s=send_s if sends else None,
        more=None if period is None else More(period, count),
    )


@pytest.mark.parametrize(("name", "ranks", "chunks"), PIPELINES)
@pytest.mark.parametrize("sends", [False, True])
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), more=st.integers(1, 40))
def test_inserted_periods_equal_the_whole_schedule(
    name: str, ranks: int, chunks: int, sends: bool, seed: int, more: int
) -> None:
    period = period_of(name, ranks, chunks)
    if name in WITHOUT_PERIOD:
        assert period is None
        return
    assert period is not None
    short = build_schedule(name, ranks, period.num_microbatches, chunks)
    count = np.array([0, more, 1, more])
    ends = solve_passes(
        short, random_work(name, ranks, chunks, count, seed, sends=sends), begin_s=2.0**-7
    )
    for column, extra in enumerate(count.tolist()):
        microbatches = period.num_microbatches + extra * period.step
        whole = build_schedule(name, ranks, microbatches, chunks)
        work = random_work(name, ranks, chunks, count, seed, sends=sends)
        alone = solve_passes(whole, Work(work.duration_s, work.send_s), begin_s=2.0**-7)
        np.testing.assert_array_equal(ends.compute_s[:, column], alone.compute_s[:, column])
        np.testing.assert_array_equal(ends.first_start_s[:, column], alone.first_start_s[:, column])


@pytest.mark.parametrize(
    ("name", "ranks", "chunks", "microbatches", "fewest"),
    [
        ("1f1b", 4, 1, 3, 3),  # fewer than the 5 from which 1F1B of four ranks repeats
        ("1f1b", 4, 1, 1000, 5),
        ("interleaved", 4, 2, 1000, 12),
        ("gpipe", 4, 1, 1000, 1000),
        ("1f1b", 1, 1, 1000, 1),  # one rank: microbatches follow one another
    ],
)
def test_representative(name: str, ranks: int, chunks: int, microbatches: int, fewest: int) -> None:
    assert representative(name, ranks, chunks, microbatches) == fewest


def test_steady_rows_are_not_run_further() -> None:
    """Two clocks, one by 1 and one by at least 1 a period: at rest after the first gap closes."""
    calls: list[int] = []

    def period(rows: IntArray) -> Callable[[FloatArray], FloatArray]:
        def advance(state_s: FloatArray) -> FloatArray:
            calls.append(rows.size)
            slow = state_s[0] + 1.0
            return np.stack((slow, np.maximum(state_s[1] + 0.5, slow)))

        return advance

    state_s = np.array([[0.0, 0.0, 0.0], [0.0, 2.0, 2.0]])
    after_s = after_periods(state_s, np.array([1000, 1000, 0]), period)
    # The second row's lead of 2 shrinks by half a period: 2.5, 3, 3.5, 4 = slow, then 1 each.
    np.testing.assert_array_equal(after_s, [[1000.0, 1000.0, 0.0], [1000.0, 1000.0, 2.0]])
    assert len(calls) == 5
