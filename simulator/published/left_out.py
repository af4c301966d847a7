"""Validation with every source predicted by stacks that were fitted without it.

``trainsim calibrate leave-one-out`` fits the values and writes them as a table; this reads the
table, and predicts the rows of every source with the values that belong to it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from simulator.errors import SpecError, UnknownNameError
from simulator.published.results import ValidationResult, validation_result
from simulator.published.validate import published_paths, validate
from simulator.report.report import Report
from simulator.scenario import Scenario
from simulator.simulate import simulate
from simulator.spec.fits import FITTED

COLUMNS: Final = ("source", "stack", "parameter", "value")
Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Headers and rows of text."""


@dataclass(frozen=True, slots=True)
class LeftOutValue:
    """Value of a stack's scalar when the rows of one source are left out of the fit."""

    source: str
    stack: str
    parameter: str
    value: float


def left_out_text(values: Iterable[LeftOutValue]) -> str:
    """The table as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in values:
        writer.writerow((one.source, one.stack, one.parameter, f"{one.value:.4g}"))
    return buffer.getvalue()


def read_left_out(path: Path) -> tuple[LeftOutValue, ...]:
    """The table of a file.

    Raises:
        SpecError: if it cannot be read, or a line is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read '{path}': {error}") from None
    lines = list(csv.reader(io.StringIO(text)))
    if not lines or tuple(lines[0]) != COLUMNS:
        raise SpecError(
            f"the first line is not '{','.join(COLUMNS)}'",
            where=f"{path}, line 1",
            hint="write it with 'trainsim calibrate leave-one-out --out FILE.csv'",
        )
    return tuple(_value(cells, f"{path}, line {i}") for i, cells in enumerate(lines[1:], 2))


def _value(cells: Sequence[str], where: str) -> LeftOutValue:
    try:
        source, stack, parameter, text = cells
        value = float(text)
    except ValueError:
        raise SpecError(f"'{','.join(cells)}' is not {', '.join(COLUMNS)}", where=where) from None
    if parameter not in FITTED:
        raise UnknownNameError.of("parameter", parameter, FITTED, where=where)
    return LeftOutValue(source, stack, parameter, value)


def without_source(
    scenario: Scenario, values: Mapping[tuple[str, str], Mapping[str, float]]
) -> Scenario:
    """A row's scenario on the stack as fitted without the row's source.

    Args:
        scenario: of a row, named ``source/id``.
        values: (source, stack) -> scalar -> value.
    """
    source = scenario.name.partition("/")[0]
    changed = values.get((source, scenario.stack.name))
    return replace(scenario, stack=replace(scenario.stack, **changed)) if changed else scenario


def _simulate(scenario: Scenario, values: Mapping[tuple[str, str], Mapping[str, float]]) -> Report:
    return simulate(without_source(scenario, values), levers=False)


def validate_left_out(
    values: Sequence[LeftOutValue], *, progress: bool = False, workers: int | None = None
) -> ValidationResult:
    """Predictions for the sources in ``values``; those of all others do not change."""
    table: dict[tuple[str, str], dict[str, float]] = {}
    for one in values:
        table.setdefault((one.source, one.stack), {})[one.parameter] = one.value
    sources = {one.source for one in values}
    paths = [path for path in published_paths() if path.stem in sources]
    if not paths:
        raise SpecError("no value is for a shipped table")
    return validate(paths, progress, partial(_simulate, values=table), workers)


def with_left_out(fitted: ValidationResult, left_out: ValidationResult) -> ValidationResult:
    """All rows, those of the sources that were left out as they are then predicted."""
    rows = [row for row in fitted.rows if row.source not in left_out.sources]
    return validation_result([*rows, *left_out.rows])


def left_out_table(fitted: ValidationResult, left_out: ValidationResult) -> Table:
    """Errors over rows marked test per source that was left out, and over all test rows."""
    headers = ("source", "test rows", "mean", "bias", "mean left out", "bias left out")
    whole = with_left_out(fitted, left_out)
    pairs = [(name, fitted.sources[name], other) for name, other in left_out.sources.items()]
    rows = [
        (
            name,
            f"{shipped.test.compared:,}",
            _percent(shipped.test.mape),
            _percent(shipped.test.bias, signed=True),
            _percent(other.test.mape),
            _percent(other.test.bias, signed=True),
        )
        for name, shipped, other in (*pairs, ("all", fitted.overall, whole.overall))
        if shipped.test.compared
    ]
    return headers, rows


def _percent(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return "-"
    return f"{100 * value:+.1f} %" if signed else f"{100 * value:.1f} %"
