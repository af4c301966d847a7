"""Validation with every source predicted by stacks that were fitted without it.

``trainsim calibrate leave-one-out`` fits the values and writes them as a table; this reads the
table, and predicts the rows of every source with the values that belong to it.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from simulator.errors import SpecError, UnknownNameError
from simulator.progress import Progress, silent
from simulator.published.document import Table, count, table
from simulator.published.results import ValidationResult, validation_result
from simulator.published.validate import published_paths, validate
from simulator.report.report import Report
from simulator.scenario import Scenario
from simulator.simulate import simulate
from simulator.spec.fits import FITTED
from simulator.spec.yaml_file import list_data
from simulator.units import percent

COLUMNS: Final = ("source", "stack", "parameter", "value")


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
        UnknownNameError: if a parameter, source or stack is none of the shipped ones.
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
    values = [_value(cells, f"{path}, line {i}") for i, cells in enumerate(lines[1:], 2)]
    keys = [(one.source, one.stack, one.parameter) for one in values]
    for i, key in enumerate(keys):
        if key in keys[:i]:
            where = f"{path}, line {i + 2}"
            raise SpecError(f"{', '.join(key)} has a value already", where=where)
    return tuple(values)


def _value(cells: Sequence[str], where: str) -> LeftOutValue:
    try:
        source, stack, parameter, text = cells
        value = float(text)
    except ValueError:
        raise SpecError(f"'{','.join(cells)}' is not {', '.join(COLUMNS)}", where=where) from None
    sources = [path.stem for path in published_paths()]
    stacks = list_data("stacks")
    named = (
        ("parameter", parameter, FITTED),
        ("source", source, sources),
        ("stack", stack, stacks),
    )
    for kind, name, known in named:
        if name not in known:
            raise UnknownNameError.of(kind, name, known, where=where)
    is_time = parameter.endswith("_s")  # the host may take none, while a scale of 0 is none
    if not math.isfinite(value) or value < 0 or (value == 0 and not is_time):
        least = "0 or more" if is_time else "above 0"
        raise SpecError(f"{parameter} {text} must be {least} and finite", where=where)
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
    values: Sequence[LeftOutValue], *, progress: Progress = silent, workers: int | None = None
) -> ValidationResult:
    """Predictions for the sources in ``values``; those of all others do not change."""
    by_stack: dict[tuple[str, str], dict[str, float]] = {}
    for one in values:
        by_stack.setdefault((one.source, one.stack), {})[one.parameter] = one.value
    sources = {one.source for one in values}
    paths = [path for path in published_paths() if path.stem in sources]
    if not paths:
        raise SpecError("no value is for a shipped table")
    return validate(paths, progress, partial(_simulate, values=by_stack), workers)


def with_left_out(fitted: ValidationResult, left_out: ValidationResult) -> ValidationResult:
    """All rows, those of the sources that were left out as they are then predicted."""
    rows = [row for row in fitted.rows if row.source not in left_out.sources]
    return validation_result([*rows, *left_out.rows])


@dataclass(frozen=True, slots=True)
class LeftOutErrors:
    """Errors over the test rows of one source, or of ``all``.

    Attributes:
        mape, bias: with the stacks as they are.
        mape_left_out, bias_left_out: with stacks that were fitted without the source.
    """

    source: str
    test_rows: int
    mape: float | None
    bias: float | None
    mape_left_out: float | None
    bias_left_out: float | None


def left_out_errors(
    fitted: ValidationResult, left_out: ValidationResult
) -> tuple[LeftOutErrors, ...]:
    """Errors over rows marked test per source that was left out, and over all test rows."""
    whole = with_left_out(fitted, left_out)
    pairs = [(name, fitted.sources[name], other) for name, other in left_out.sources.items()]
    return tuple(
        LeftOutErrors(
            source=name,
            test_rows=shipped.test.compared,
            mape=shipped.test.mape,
            bias=shipped.test.bias,
            mape_left_out=other.test.mape,
            bias_left_out=other.test.bias,
        )
        for name, shipped, other in (*pairs, ("all", fitted.overall, whole.overall))
        if shipped.test.compared
    )


def left_out_table(fitted: ValidationResult, left_out: ValidationResult) -> Table:
    """``left_out_errors`` as a table."""
    columns = (
        "source",
        "test rows",
        "mean absolute error",
        "bias",
        "mean absolute error left out",
        "bias left out",
    )
    rows = [
        (
            one.source,
            count(one.test_rows),
            percent(one.mape),
            percent(one.bias, signed=True),
            percent(one.mape_left_out),
            percent(one.bias_left_out, signed=True),
        )
        for one in left_out_errors(fitted, left_out)
    ]
    return table(columns, rows)
