"""The columns of a sweep's rows: axes and derived values, the status, the metrics."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from simulator.spec.expression import Value
from simulator.spec.sweep import Sweep
from simulator.sweep.points import Point

Kind: TypeAlias = Literal["int", "float", "bool", "text"]
Row: TypeAlias = dict[str, Value]

POINT: Final = "point"
STATUS: Final = "status"
REASON: Final = "reason"
OK: Final = "ok"
DOES_NOT_FIT: Final = "does not fit"
INFEASIBLE: Final = "infeasible"
ERROR: Final = "error"
STATUSES: Final = (OK, DOES_NOT_FIT, INFEASIBLE, ERROR)
"""What can become of a point; ``error`` is a bug of the simulator, the others are results."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        path: of the value in the scenario; the name itself where it is none.
    """

    name: str
    kind: Kind
    path: str


def columns_of(sweep: Sweep, metrics: Sequence[str], points: Sequence[Point]) -> tuple[Column, ...]:
    """All columns in order. A value is named by the last word of its path where that is unique.

    Args:
        sweep: gives the axes.
        metrics: names.
        points: all points, whatever the shard: the kind of a derived value is that of its values.
    """
    paths = [*sweep.axes, *sweep.derive]
    taken = {POINT, STATUS, REASON, *metrics}
    words = [path.rpartition(".")[2] for path in paths]
    derived = [dict(point.values) for point in points] if sweep.derive else []
    values: list[Column] = []
    for path, word in zip(paths, words, strict=True):
        unique = words.count(word) == 1 and word not in taken
        kind = kind_of(sweep.axes.get(path) or (point[path] for point in derived))
        values.append(Column(word if unique else path.replace(".", "_"), kind, path))
    return (
        Column(POINT, "text", POINT),
        *values,
        Column(STATUS, "text", STATUS),
        Column(REASON, "text", REASON),
        *(Column(metric, "float", metric) for metric in metrics),
    )


def kind_of(values: Iterable[object]) -> Kind:
    """The kind that holds all values; text where none does. What is missing does not count."""
    types = {type(value) for value in values if value is not None}
    if types == {bool}:
        return "bool"
    if types == {int}:
        return "int"
    return "float" if types and types <= {int, float} else "text"


def value_cells(point: Point, columns: Sequence[Column]) -> Row:
    """The id and the values of a point, as its row says them; mappings and lists as JSON."""
    values: Mapping[str, object] = dict(point.values)
    kinds = {column.path: column for column in columns}
    cells: Row = {POINT: point.id}
    for path, value in values.items():
        cells[kinds[path].name] = _cell(value, kinds[path].kind)
    return cells


def _cell(value: object, kind: Kind) -> Value:
    if value is None or (kind == "text" and isinstance(value, str)):
        return value
    if kind != "text" and isinstance(value, (int, float)):
        return float(value) if kind == "float" else value
    return json.dumps(value, sort_keys=True)
