"""A calibration as JSON data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from simulator.calibrate.fit_stack import FittedParameter, RowErrors, StackFit
from simulator.calibrate.session import Calibration, TestErrors
from simulator.calibrate.spread import stack_spreads
from simulator.published.metrics import ErrorStatistics, error_statistics

Json = dict[str, object]


def statistics(errors: Sequence[float]) -> ErrorStatistics:
    """Of log errors, as relative ones."""
    return error_statistics(np.expm1(np.array(errors, dtype=np.float64)).tolist())


def error_groups(fit: StackFit, test: TestErrors | None) -> dict[str, ErrorStatistics]:
    """What was fitted on, what it is worth on rows not seen, and test rows apart."""
    fitted = [row for row in fit.rows if row.fitted_on]
    groups: dict[str, Sequence[float]] = {"calibration_as_shipped": _column(fit.rows, "before")}
    if fit.parameters:
        groups |= {
            "calibration_fitted": _column(fit.rows, "after"),
            "fitted_on": _column(fitted, "after"),
            "cross_validated": _column(fit.rows, "cross_validated"),
            "source_left_out": _column(fit.rows, "source_left_out"),
        }
    if test is not None and test.before:
        groups["test_as_shipped"] = test.before
        if fit.parameters:
            groups["test_fitted"] = test.after
    return {name: statistics(errors) for name, errors in groups.items()}


def _column(rows: Sequence[RowErrors], name: str) -> list[float]:
    return [float(getattr(row, name)) for row in rows]


def calibration_json(calibration: Calibration) -> Json:
    """Everything but the rows' scenarios; standard errors that are not known are null."""
    return {
        "fits": [_fit_json(fit, calibration.test.get(fit.job.stack)) for fit in calibration.fits],
        "spreads": {
            name: {"rows": one.spread.rows, "spread": one.spread.spread}
            for name, one in stack_spreads(calibration.fits).items()
        },
        "excluded_duplicates": [asdict(one) for one in calibration.duplicates],
        "repeated_rows": [asdict(one) for one in calibration.repeats],
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
