"""What ``trainsim calibrate`` prints."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from simulator.calibrate.fit_stack import FittedParameter, StackFit
from simulator.calibrate.hardware import HardwareFit
from simulator.calibrate.session import Calibration, TestErrors
from simulator.calibrate.spread import pooled_spread, stack_spreads
from simulator.calibrate.summary import error_groups
from simulator.units import percent
from simulator.views import table

_PARAMETER_HEADERS: Final = ("parameter", "shipped", "fitted", "standard error", "")
_SKIPPED_HEADERS: Final = ("table", "rows", "ids", "reason")
_ERROR_HEADERS: Final = ("rows", "n", "bias", "mean absolute error", "median", "90 %", "worst")
_FAR: Final = 10.0
"""Factor between measured times and the base from which on another unit is likely."""
_GROUPS: Final[Mapping[str, str]] = {
    "calibration_as_shipped": "calibration, as shipped",
    "calibration_fitted": "calibration, fitted",
    "fitted_on": "of these fitted on",
    "cross_validated": "cross-validated (5 folds)",
    "source_left_out": "own source left out",
    "test_as_shipped": "test (out of sample), as shipped",
    "test_fitted": "test (out of sample), fitted",
}
"""Keys of ``error_groups`` in words."""


def calibration_view(calibration: Calibration) -> RenderableType:
    """Per stack: the scalars, and the errors on rows seen and not seen."""
    parts: list[RenderableType] = []
    for fit in calibration.fits:
        test = calibration.test.get(fit.job.stack)
        parts.append(Text(f"\n{fit.job.stack}", "bold"))
        if fit.parameters:
            parts.append(table(_parameter_rows(fit), _PARAMETER_HEADERS))
            parts.append(Text())
        parts.append(table(_error_rows(fit, test), _ERROR_HEADERS))
    parts += [Text("\nSpread that predictions carry", "bold")]
    parts.append(table(_spread_rows(calibration), ("stack", "rows", "90 % spread")))
    if calibration.duplicates:
        parts.append(Text("\nNot fitted on: the same measurement is a test row of another table"))
        parts.append(table([(str(one),) for one in calibration.duplicates]))
    if calibration.repeats:
        parts.append(Text("\nCounted once: the same configuration and time is in another row"))
        parts.append(table([(str(one),) for one in calibration.repeats]))
    if calibration.skipped:
        number = len(calibration.skipped)
        what = "rows that cannot be run or have" if number > 1 else "row that cannot be run or has"
        parts.append(Text(f"\nNot used: {number} {what} no step time"))
        parts.append(table(_skipped_rows(calibration), _SKIPPED_HEADERS))
    return Group(*parts)


def _parameter_rows(fit: StackFit) -> list[tuple[str, ...]]:
    """One line per fitted scalar."""
    return [
        (
            one.name,
            f"{one.shipped:.4g}",
            f"{one.value:.4g}",
            "-" if math.isinf(one.relative_error) else percent(one.relative_error),
            _remark(one),
        )
        for one in fit.parameters
    ]


def _remark(fitted: FittedParameter) -> str:
    if math.isinf(fitted.relative_error):
        return "the rows do not determine it: kept as it is"
    return "at the bound of what is physical" if fitted.at_bound else ""


def _error_rows(fit: StackFit, test: TestErrors | None) -> list[tuple[str, ...]]:
    """One line per group of rows."""
    return [
        (_GROUPS[name], str(e.compared), *map(percent, (e.bias, e.mape, e.median, e.p90, e.worst)))
        for name, e in error_groups(fit, test).items()
    ]


def _spread_rows(calibration: Calibration) -> list[tuple[str, ...]]:
    """Spread of every stack; after several stacks the pooled one of sources left out."""
    rows = [
        (name, str(one.spread.rows), _factor(one.spread.spread))
        for name, one in stack_spreads(calibration.fits).items()
    ]
    if len(calibration.fits) > 1:
        pooled = pooled_spread(calibration.fits)
        rows.append(("pooled, sources left out", str(pooled.rows), _factor(pooled.spread)))
    return rows


def _skipped_rows(calibration: Calibration) -> list[tuple[str, ...]]:
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


def hardware_view(found: HardwareFit) -> RenderableType:
    """Per curve: its constants, and the errors before, in sample and held out."""
    parts: list[RenderableType] = []
    for fit in found.fits:
        errors = (fit.base.mape, fit.in_sample.mape, fit.held_out.mape)
        before, inside, outside = map(percent, errors)
        count = fit.in_sample.compared
        parts.append(Text(f"\n{fit.name}, {count} measurements", "bold"))
        parts.append(
            Text(
                f"mean absolute error {before} with the base, {inside} fitted, {outside} held out "
                "(5 folds)"
            )
        )
        rows = [
            (
                one.name,
                f"{one.base:.4g}",
                f"{one.value:.4g}",
                _error(one.relative_error),
                "at the bound of what is physical" if one.at_bound else "",
            )
            for one in fit.constants
        ]
        parts.append(table(rows, ("constant", "base", "fitted", "standard error", "")))
    return Group(*parts)


def unit_warnings(found: HardwareFit) -> list[str]:
    """One line per curve whose measured times are far from what the base gives."""
    return [
        f"warning: {fit.name}: times differ from the base by a factor of "
        f"{float(f'{fit.base_factor:.2g}'):,.0f}: time_us is in microseconds"
        for fit in found.fits
        if fit.base_factor > _FAR
    ]


def _error(relative: float) -> str:
    """Constants that kernels depend on too little to be told are said to be so."""
    return percent(relative) if math.isfinite(relative) else "not determined"
