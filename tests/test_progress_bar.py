"""One line for whatever is done: what counts anew has a rate of its own."""

import pytest
from rich.progress import Progress as Bars

from simulator.progress_bar import CountColumn, PaceColumn, drawn_by


def test_counts_that_start_anew_are_other_work() -> None:
    clock = iter(range(100))
    bars = Bars(get_time=lambda: float(next(clock)))
    shown = drawn_by(bars)
    for done in range(1, 10):
        shown(f"reading {done}", done, 9)
    (read,) = bars.tasks
    assert (read.description, read.completed) == ("reading 9", 9)
    assert read.speed
    shown("predicting", 1, 9)
    (predicted,) = bars.tasks
    assert (predicted.description, predicted.completed) == ("predicting", 1)
    assert predicted.speed is None
    shown("fitting", 5, None)
    assert [(task.completed, task.total) for task in bars.tasks] == [(5, None)]


@pytest.mark.parametrize(
    ("done", "total", "words"),
    [(0, None, ""), (1234, None, "1,234"), (0, 40, "0/40"), (1200, 4000, "1,200/4,000")],
)
def test_what_is_not_known_is_not_shown(done: int, total: int | None, words: str) -> None:
    bars = Bars()
    drawn_by(bars)("plans", done, total)
    assert CountColumn().render(bars.tasks[0]).plain == words


def test_time_left_where_it_is_known_else_time_taken() -> None:
    """One every 2 s: 0.5 in a second. 2 of 10 are done after 4 s: 16 s are left."""
    now = 0.0
    bars = Bars(get_time=lambda: now)
    shown = drawn_by(bars)
    shown("plans", 0, 10)
    assert PaceColumn().render(bars.tasks[0]).plain == "0:00:00"
    for done in (1, 2):
        now = 2.0 * done
        shown("plans", done, 10)
    assert PaceColumn().render(bars.tasks[0]).plain == "0.50/s  0:00:16 left"
    shown("fitting", 0, None)
    now = 65.0
    assert PaceColumn().render(bars.tasks[0]).plain == "0:01:01"
