"""A line on a terminal: what is done, how far it is, how fast and how long it still takes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from simulator.progress import Progress

_SLOW_PER_S = 10
"""Below it a rate needs digits behind the point."""


class CountColumn(ProgressColumn):
    """How many are done of how many, as far as that is known."""

    def render(self, task: Task) -> Text:
        """Nothing before there is a number."""
        if task.total is not None:
            return Text(f"{task.completed:,.0f}/{task.total:,.0f}")
        return Text(f"{task.completed:,.0f}" if task.completed else "")


class PaceColumn(ProgressColumn):
    """How many are done in a second and the time left, or the time so far if nobody knows it."""

    def render(self, task: Task) -> Text:
        """The rate, once there is one, and a time."""
        left = task.time_remaining
        words = _clock(task.elapsed or 0.0) if left is None else f"{_clock(left)} left"
        if task.speed:
            digits = 0 if task.speed >= _SLOW_PER_S else 2
            words = f"{task.speed:,.{digits}f}/s  {words}"
        return Text(words)


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))


@contextmanager
def shown_progress() -> Generator[Progress]:
    """Gives a function that draws what it is told on stderr; nothing stays when it ends."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn())
    console = Console(stderr=True)
    with Bars(*columns, CountColumn(), PaceColumn(), console=console, transient=True) as bars:
        yield drawn_by(bars)


def drawn_by(bars: Bars) -> Progress:
    """Progress as one task: another one where counts start anew, as its rate is its own."""

    def shown(what: str, done: int, total: int | None) -> None:
        for task in bars.tasks:
            if done >= task.completed and total == task.total:
                bars.update(task.id, description=what, completed=done)
                return
            bars.remove_task(task.id)
        bars.add_task(what, total=total, completed=done)

    return shown
