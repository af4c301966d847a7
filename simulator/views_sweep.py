"""What ``trainsim sweep`` and ``trainsim query`` print, and the progress they show."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias, cast

from rich.console import Console, Group, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from simulator.views import table

if TYPE_CHECKING:
    from simulator.sweep.run import Outcome
    from simulator.sweep.store import Selection

Started: TypeAlias = Callable[[int, int], Callable[[int], None]]


def outcome_view(outcome: Outcome) -> RenderableType:
    """How many rows there are, of which kind, and what to do with them."""
    there = outcome.points - outcome.evaluated
    done = f"{outcome.evaluated:,} simulated, {there:,} there before"
    shard, parts = outcome.shard, list[RenderableType]()
    if outcome.rejected:
        combinations = f"{outcome.rejected:,} of {outcome.combinations:,} combinations"
        parts.append(Text(f"{combinations} left out by the constraints"))
    if shard.count == 1:
        parts.append(Text(f"{outcome.points:,} points: {done}"))
    else:
        total = outcome.combinations - outcome.rejected
        part = f"shard {shard.index}/{shard.count}"
        parts.append(Text(f"{outcome.points:,} of {total:,} points are of {part}: {done}"))
        parts.append(Text(f"{sum(outcome.statuses.values()):,} rows of all shards are there now:"))
    if outcome.lost_batches:
        parts.append(Text(f"{outcome.lost_batches} batches ran again: their worker was lost"))
    parts.append(table([(status, f"{count:,}") for status, count in outcome.statuses.items()]))
    example = "SELECT * FROM rows WHERE status = 'ok' LIMIT 5"
    parts.append(Text(f'ask them: trainsim query {outcome.folder} "{example}"', "dim"))
    return Group(*parts)


def selection_view(selection: Selection) -> RenderableType:
    """The answer as a table; numbers with six digits."""
    grid = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for index, column in enumerate(selection.columns):
        numbers = all(isinstance(row[index], (int, float)) for row in selection.rows)
        grid.add_column(
            column,
            justify="right" if numbers and selection.rows else "left",
            min_width=len(column),
            overflow="fold",
        )
    for row in selection.rows:
        grid.add_row(*(Text(_shown(value)) for value in row))
    return grid


def plain_rows(selection: Selection) -> list[dict[str, object]]:
    """The answer as JSON data; dates and the like as text, what is no number as null."""
    return [
        {name: _plain(value) for name, value in zip(selection.columns, row, strict=True)}
        for row in selection.rows
    ]


def _plain(value: object) -> object:
    match value:
        case None | bool() | int() | str():
            return value
        case float() | Decimal():
            return float(value) if math.isfinite(value) else None
        case list() | tuple():
            return [_plain(one) for one in cast("Sequence[object]", value)]
        case dict():
            return {str(k): _plain(v) for k, v in cast("dict[object, object]", value).items()}
        case _:
            return str(value)


def _shown(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6g}"
        case _:
            return str(value)


@contextmanager
def shown_progress(on_terminal: bool) -> Generator[Started]:
    """On a terminal a bar with the rows that are on disk, their rate and the time left."""
    if not on_terminal:
        yield lambda total, done: lambda more: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:

        def started(total: int, done: int) -> Callable[[int], None]:
            task = bars.add_task("points", total=total, completed=done, rate="")
            return lambda more: _advance(bars, task, more)

        yield started


def _advance(bars: Progress, task: TaskID, more: int) -> None:
    bars.advance(task, more)
    speed = next(one.speed for one in bars.tasks if one.id == task)
    bars.update(task, rate=f"{speed:,.0f}/s" if speed else "")
