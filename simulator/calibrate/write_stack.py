"""Fitted values and spreads as text of a stack file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

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
from simulator.spec.fits import FitSpec
from simulator.spec.validate import validate
from simulator.spec.yaml_file import parse_yaml
from simulator.uncertainty import PooledSpread
from simulator.units import percent

TYPICAL_SOURCE = (
    "weighted geometric mean over the stacks with rows to fit it on (trainsim calibrate stack all)"
)
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


def with_typical(text: str, values: Mapping[str, float]) -> str:
    """The file with values of other software; what the source of a figure remarks stays."""
    for name, value in values.items():
        parameter = PARAMETERS[name]
        remark = remark_of(text, parameter.yaml_key)
        source = TYPICAL_SOURCE + (f": {remark}" if remark else "")
        entry = figure(parameter.yaml_key, value, parameter.unit, source)
        text = with_entry(text, parameter.yaml_key, entry)
    return text


def declared_in(text: str, where: str) -> FitSpec:
    """The ``fit`` block of a stack file; an empty one where there is none."""
    content = cast("dict[str, object]", parse_yaml(text, where))
    return validate(FitSpec, content.get("fit") or {}, f"{where}: fit")


def declared_by(fit: StackFit) -> FitSpec:
    """What a fit block declares of the job that was done."""
    job = fit.job
    return FitSpec(
        parameters=job.names,
        sources=job.sources,
        stacks=() if job.stacks == (job.stack,) else job.stacks,
        fitted_rows=sum(row.fitted_on for row in fit.rows),
    )


def with_fit(text: str, declared: FitSpec, spread: MeasuredSpread) -> str:
    """The file with the ``fit`` block of a stack.

    Args:
        text: of the file.
        declared: what is fitted on what, and the rows behind the values.
        spread: what is left over.
    """
    lines = ["fit:"]
    for key in ("parameters", "sources", "stacks", "typical"):
        names: tuple[str, ...] = getattr(declared, key)
        lines += [f"  {key}: {listed(names)}"] if names else []
    lines += [f"  fitted_rows: {declared.fitted_rows}"] if declared.parameters else []
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
    text = f"# Fitted by trainsim calibrate stack.\nextends: {quoted(name)}\n\n"
    text = with_values(text, fit)
    return text if spread is None else with_fit(text, declared_by(fit), spread)


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
    tables = ", ".join(dict.fromkeys(row.row.table for row in counted))
    error = (
        "not determined by them"
        if math.isinf(fitted.relative_error)
        else f"standard error {percent(fitted.relative_error)}"
    )
    bound = ", at the bound of what is physical" if fitted.at_bound else ""
    return (
        f"fitted on {len(counted)} calibration row{'s' if len(counted) != 1 else ''} of {tables}, "
        f"{error}{bound} (trainsim calibrate stack {fit.job.stack})"
    )
