"""What ``trainsim calibrate`` prints, and the progress it shows."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from simulator.calibrate.everything import Progress
from simulator.calibrate.session import Calibration
from simulator.calibrate.summary import (
    ERROR_HEADERS,
    PARAMETER_HEADERS,
    error_rows,
    parameter_rows,
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
    if calibration.duplicates:
        parts.append(Text("\nNot fitted on: the same measurement is a test row of another table"))
        parts.append(table([(str(one),) for one in calibration.duplicates]))
    return Group(*parts)


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
