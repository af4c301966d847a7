"""Fitted values and spreads as text of a stack file."""

from __future__ import annotations

import math
from collections.abc import Sequence

from simulator.calibrate.fit_stack import FittedParameter, StackFit
from simulator.calibrate.parameters import PARAMETERS
from simulator.calibrate.spread import MeasuredSpread
from simulator.calibrate.yaml_text import (
    figure,
    listed,
    quoted,
    region_lines,
    remark_of,
    with_entry,
)
from simulator.uncertainty import PooledSpread

POOLED_SOURCE = (
    "trainsim calibrate stack all: every source with calibration rows left out of the fits in turn"
)


def with_values(text: str, fit: StackFit) -> str:
    """The file with the fitted values; what the source of a figure remarks stays."""
    for fitted in fit.parameters:
        parameter = PARAMETERS[fitted.name]
        remark = remark_of(text, parameter.yaml_key)
        source = _source(fit, fitted) + (f": {remark}" if remark else "")
        entry = figure(parameter.yaml_key, fitted.value, parameter.unit, source)
        text = with_entry(text, parameter.yaml_key, entry)
    return text


def with_fit(text: str, stack: str, fits: Sequence[StackFit], spread: MeasuredSpread) -> str:
    """The file with the ``fit`` block of a stack."""
    fit = next((one for one in fits if one.job.stack == stack), None)
    lines = ["fit:"]
    if fit is not None and fit.parameters:
        lines.append(f"  parameters: {listed(fit.job.names)}")
        lines += [f"  sources: {listed(fit.job.sources)}"] if fit.job.sources else []
        lines += [f"  stacks: {listed(fit.job.stacks)}"] if fit.job.stacks != (stack,) else []
        lines.append(f"  fitted_rows: {sum(row.fitted_on for row in fit.rows)}")
    own = spread.spread
    lines.append(f"  spread_rows: {own.rows}")
    lines += [f"  spread: {own.spread:.4g}"] if own.spread is not None else []
    lines += ["  regions:", *region_lines(own.regions, spread.rows_per_accelerator)]
    return with_entry(text, "fit", "\n".join(lines))


def extension(name: str, fit: StackFit, spread: MeasuredSpread | None) -> str:
    """A new file that extends a stack and holds its fitted values.

    Args:
        name: of the stack, or the path of its file.
        fit: of it.
        spread: of it, None where no row runs on it.
    """
    text = f"# Fitted by trainsim calibrate stack.\nextends: {name}\n\n"
    text = with_values(text, fit)
    return text if spread is None else with_fit(text, fit.job.stack, [fit], spread)


def pooled_text(pooled: PooledSpread) -> str:
    """Content of ``hardware/uncertainty.yaml``."""
    return (
        "# How far predictions are off for a source that no fit has seen.\n"
        f"source: {quoted(POOLED_SOURCE)}\n"
        f"spread: {pooled.spread:.4g}\n"
        f"fade_doublings: {pooled.fade_doublings:g}\n"
        f"rows: {pooled.rows}\n"
        f"sources: {pooled.sources}\n"
    )


def _source(fit: StackFit, fitted: FittedParameter) -> str:
    counted = [row for row in fit.rows if row.fitted_on]
    tables = ", ".join(dict.fromkeys(f"{row.row.source}.csv" for row in counted))
    error = (
        "not determined by them"
        if math.isinf(fitted.relative_error)
        else f"standard error {100 * fitted.relative_error:.1f} %"
    )
    bound = ", at the bound of what is physical" if fitted.at_bound else ""
    return (
        f"fitted on {len(counted)} calibration rows of benchmarks/published/{tables}, "
        f"{error}{bound} (trainsim calibrate stack {fit.job.stack})"
    )
