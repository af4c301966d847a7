"""What ``trainsim calibrate`` prints, and the progress it shows."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from simulator.calibrate.everything import Progress
from simulator.calibrate.hardware import HardwareFit
from simulator.calibrate.session import Calibration
from simulator.calibrate.summary import (
    ERROR_HEADERS,
    PARAMETER_HEADERS,
    SKIPPED_HEADERS,
    error_rows,
    parameter_rows,
    skipped_rows,
    spread_rows,
)
from simulator.views import table


def calibration_view(calibration: Calibration) -> RenderableType:
    """Per stack: the scalars, and the errors on rows seen and not seen."""
    parts: list[RenderableType] = []
    for fit in calibration.fits:
        test = calibration.test.get(fit.job.stack)
        parts.append(Text(f"\n{fit.job.stack}", "bold"))
        if fit.parameters:
            parts.append(table(parameter_rows(fit), PARAMETER_HEADERS))
            parts.append(Text())
        parts.append(table(error_rows(fit, test), ERROR_HEADERS))
    parts += [Text("\nSpread that predictions carry", "bold")]
    parts.append(table(spread_rows(calibration), ("stack", "rows", "90 % spread")))
    if calibration.duplicates:
        parts.append(Text("\nNot fitted on: the same measurement is a test row of another table"))
        parts.append(table([(str(one),) for one in calibration.duplicates]))
    if calibration.skipped:
        number = len(calibration.skipped)
        parts.append(Text(f"\nNot used: {number} rows that cannot be run or have no step time"))
        parts.append(table(skipped_rows(calibration), SKIPPED_HEADERS))
    return Group(*parts)


def hardware_view(found: HardwareFit) -> RenderableType:
    """Per curve: its constants, and the errors before, in sample and held out."""
    parts: list[RenderableType] = []
    for fit in found.fits:
        errors = (fit.base.mape, fit.in_sample.mape, fit.held_out.mape)
        before, inside, outside = (f"{100 * (error or 0.0):.1f} %" for error in errors)
        count = fit.in_sample.compared
        parts.append(Text(f"\n{fit.name}, {count} measurements", "bold"))
        parts.append(
            Text(f"MAPE {before} with the base, {inside} fitted, {outside} held out (5 folds)")
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


def _error(relative: float) -> str:
    """Constants that kernels depend on too little to be told are said to be so."""
    return f"{100 * relative:.1f} %" if math.isfinite(relative) else "not determined"


@contextmanager
def shown_progress(shown: bool) -> Generator[Progress]:
    """Counts evaluations on stderr while fits go on."""
    if not shown:
        yield Progress()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:.0f}"),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("Calibrating")
        yield Progress(
            begin=lambda name: bars.reset(task, description=name),
            tick=lambda: bars.advance(task),
        )
