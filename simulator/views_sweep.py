"""What ``trainsim sweep`` and ``trainsim query`` print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, cast

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from simulator.views import table

if TYPE_CHECKING:
    from simulator.sweep.run import Outcome
    from simulator.sweep.store import Selection


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
