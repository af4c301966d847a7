"""All fits of shipped stacks in one go, and what is written from them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from simulator.calibrate.fit_stack import StackFit, fit_stack
from simulator.calibrate.job import Job, inheritors
from simulator.calibrate.observations import Observation, Observations, evenly
from simulator.calibrate.other_software import OtherSoftware
from simulator.progress import Progress, followed, named, silent
from simulator.published.left_out import LeftOutValue
from simulator.spec.stacks import stack_files


def fit_all(
    jobs: Sequence[Job],
    observed: Observations,
    *,
    keep_values: bool = False,
    pool: ProcessPoolExecutor | None = None,
    progress: Progress = silent,
) -> tuple[StackFit, ...]:
    """Fits jobs in order; rows of later stacks take the values that earlier ones have changed.

    Jobs without calibration rows are passed over. Where leaving a source out leaves nothing to
    fit a scalar on, it takes what the other fits found (``other_software.py``).

    Args:
        jobs: parents before the stacks that extend them.
        observed: the rows.
        keep_values: the fits are for their spreads only, so that later stacks keep what the files
            give them.
        pool: shares the work.
        progress: is told what goes on.

    Raises:
        SpecError: if no row of the sources of a job runs on its stacks.
    """
    fits: list[StackFit] = []
    for number, job in enumerate(jobs, start=1):
        rows = evenly(observed.of(job.stacks, "calibration"))
        if not rows:
            continue
        told = named(progress, f"{job.stack} ({number} of {len(jobs)})")
        inherited = list(rows) if keep_values else _inherited(rows, fits)
        without = _parents_without(job, fits)
        fits.append(fit_stack(job, inherited, pool=pool, progress=told, without=without))
    others = OtherSoftware(fits, pool)
    return tuple(others.complete(fit) for fit in followed(fits, "Asking other software", progress))


def _inherited(rows: Sequence[Observation], fits: Sequence[StackFit]) -> list[Observation]:
    """Rows on stacks with the values that they inherit from fitted ones."""
    found = list(rows)
    for fit in fits:
        for fitted in fit.parameters:
            heirs = inheritors(fit.job.stack, fitted.name)
            found = [
                _with(row, fitted.name, fitted.value) if row.stack in heirs else row
                for row in found
            ]
    return found


def _parents_without(job: Job, fits: Sequence[StackFit]) -> dict[str, dict[str, float]]:
    """Source -> scalar -> what a stack would inherit had its parents not seen the source."""
    found: dict[str, dict[str, float]] = {}
    if not job.names or not fits:
        return found
    parents = stack_files(str(job.path))[1:]
    for name in job.names:
        giver = next((f.name for f in parents if name in f.scalars), "")
        for fit in fits:
            if fit.job.stack == giver and name in fit.values:
                for source, values in fit.left_out.items():
                    found.setdefault(source, {})[name] = values[name]
    return found


def _with(row: Observation, name: str, value: float) -> Observation:
    stack = replace(row.scenario.stack, **{name: value})
    return replace(row, scenario=replace(row.scenario, stack=stack))


def left_out_values(fits: Sequence[StackFit]) -> tuple[LeftOutValue, ...]:
    """What every stack's scalars are without a source, for all stacks that inherit them."""
    return tuple(
        sorted(
            (
                LeftOutValue(source, stack, name, value)
                for fit in fits
                for source, values in fit.left_out.items()
                for name, value in values.items()
                for stack in inheritors(fit.job.stack, name)
            ),
            key=lambda one: (one.source, one.stack, one.parameter),
        )
    )
