"""A calibration as JSON data and as tables of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import numpy as np

from simulator.calibrate.fit_stack import FittedParameter, RowErrors, StackFit
from simulator.calibrate.session import Calibration, TestErrors
from simulator.calibrate.spread import pooled_spread, stack_spreads
from simulator.published.metrics import ErrorStatistics, error_statistics

Json = dict[str, object]
PARAMETER_HEADERS: Final = ("parameter", "shipped", "fitted", "standard error", "")
SKIPPED_HEADERS: Final = ("table", "rows", "ids", "reason")
ERROR_HEADERS: Final = ("rows", "n", "bias", "MAPE", "median", "90 %", "worst")


def statistics(errors: Sequence[float]) -> ErrorStatistics:
    """Of log errors, as relative ones."""
    return error_statistics(np.expm1(np.array(errors, dtype=np.float64)).tolist())


def error_groups(fit: StackFit, test: TestErrors | None) -> dict[str, ErrorStatistics]:
    """What was fitted on, what it is worth on rows not seen, and test rows apart."""
    fitted = [row for row in fit.rows if row.fitted_on]
    groups: dict[str, Sequence[float]] = {"calibration, as shipped": _column(fit.rows, "before")}
    if fit.parameters:
        groups |= {
            "calibration, fitted": _column(fit.rows, "after"),
            "of these fitted on": _column(fitted, "after"),
            "cross-validated (5 folds)": _column(fit.rows, "cross_validated"),
            "own source left out": _column(fit.rows, "source_left_out"),
        }
    if test is not None and test.before:
        groups["test (out of sample), as shipped"] = test.before
        if fit.parameters:
            groups["test (out of sample), fitted"] = test.after
    return {name: statistics(errors) for name, errors in groups.items()}


def _column(rows: Sequence[RowErrors], name: str) -> list[float]:
    return [float(getattr(row, name)) for row in rows]


def parameter_rows(fit: StackFit) -> list[tuple[str, ...]]:
    """One line per fitted scalar."""
    return [
        (
            one.name,
            f"{one.shipped:.4g}",
            f"{one.value:.4g}",
            "-" if math.isinf(one.relative_error) else f"{100 * one.relative_error:.1f} %",
            _remark(one),
        )
        for one in fit.parameters
    ]


def _remark(fitted: FittedParameter) -> str:
    if math.isinf(fitted.relative_error):
        return "the rows do not determine it: kept as it is"
    return "at the bound of what is physical" if fitted.at_bound else ""


def error_rows(fit: StackFit, test: TestErrors | None) -> list[tuple[str, ...]]:
    """One line per group of rows."""
    return [
        (name, str(e.compared), *map(_percent, (e.bias, e.mape, e.median, e.p90, e.worst)))
        for name, e in error_groups(fit, test).items()
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def spread_rows(calibration: Calibration) -> list[tuple[str, ...]]:
    """Spread of every stack; after several stacks the pooled one of sources left out."""
    rows = [
        (name, str(one.spread.rows), _factor(one.spread.spread))
        for name, one in stack_spreads(calibration.fits).items()
    ]
    if len(calibration.fits) > 1:
        pooled = pooled_spread(calibration.fits)
        rows.append(("pooled, sources left out", str(pooled.rows), _factor(pooled.spread)))
    return rows


def skipped_rows(calibration: Calibration) -> list[tuple[str, ...]]:
    """One line per table and reason for which rows cannot be run."""
    ids: dict[tuple[str, str], list[str]] = {}
    for one in calibration.skipped:
        ids.setdefault((one.row.source, one.reason), []).append(one.row.row_id)
    return [
        (source, str(len(own)), ", ".join(own[:3]) + (", ..." if len(own) > 3 else ""), reason)
        for (source, reason), own in ids.items()
    ]


def _factor(spread: float | None) -> str:
    """The range as factors on a prediction."""
    if spread is None:
        return "too few rows: pooled"
    return f"{math.expm1(-spread):+.0%} {math.expm1(spread):+.0%}"


def calibration_json(calibration: Calibration) -> Json:
    """Everything but the rows' scenarios; standard errors that are not known are null."""
    return {
        "fits": [_fit_json(fit, calibration.test.get(fit.job.stack)) for fit in calibration.fits],
        "spreads": {
            name: {"rows": one.spread.rows, "spread": one.spread.spread}
            for name, one in stack_spreads(calibration.fits).items()
        },
        "excluded_duplicates": [asdict(one) for one in calibration.duplicates],
        "skipped_rows": [
            {
                "source": one.row.source,
                "id": one.row.row_id,
                "role": one.row.role,
                "reason": one.reason,
            }
            for one in calibration.skipped
        ],
    }


def _fit_json(fit: StackFit, test: TestErrors | None) -> Json:
    return {
        "stack": fit.job.stack,
        "sources": list(fit.job.sources),
        "parameters": [_parameter_json(one) for one in fit.parameters],
        "uncertainty": "sandwich (Huber) standard error of the logarithm",
        "errors": {name: asdict(e) for name, e in error_groups(fit, test).items()},
        "source_left_out": {name: dict(values) for name, values in fit.left_out.items()},
        "rows": [_row_json(row) for row in fit.rows],
    }


def _parameter_json(one: FittedParameter) -> Json:
    known = math.isfinite(one.relative_error)
    return {**asdict(one), "relative_error": one.relative_error if known else None}


def _row_json(row: RowErrors) -> Json:
    errors = ("before", "after", "cross_validated", "source_left_out")
    return {
        "source": row.row.source,
        "id": row.row.row_id,
        "fitted_on": row.fitted_on,
        **{name: math.expm1(float(getattr(row, name))) for name in errors},
    }
