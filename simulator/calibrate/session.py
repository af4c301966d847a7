"""One call of ``trainsim calibrate stack``: reads tables, fits, and compares with test rows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from simulator.calibrate.duplicates import Duplicate, Repeat, without_repeats
from simulator.calibrate.everything import fit_all
from simulator.calibrate.fit_stack import StackFit
from simulator.calibrate.job import Job
from simulator.calibrate.model import ResidualModel
from simulator.calibrate.observations import (
    Observation,
    Observations,
    observe,
    read_tables,
    refuse_test_rows,
    stack_of,
)
from simulator.errors import SpecError, UnknownNameError
from simulator.progress import Progress, followed, silent
from simulator.published.mapping import Skipped
from simulator.published.rows import PublishedRow
from simulator.published.validate import published_paths

_REASONS: Final = 3
"""Reasons for which rows are not used that an error names."""


@dataclass(frozen=True, slots=True)
class TestErrors:
    """log(predicted / measured) of rows marked test with shipped and with fitted values."""

    __test__ = False  # no class of tests, whatever its name begins with

    before: tuple[float, ...]
    after: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What a session found.

    Attributes:
        test: stack of a job -> errors of test rows; missing where they were not asked for.
        duplicates: calibration rows set aside because a test row is the same measurement.
        skipped: calibration and, if asked for, test rows that cannot be run, and why.
        repeats: calibration rows of tables that were named, which another row says already.
    """

    fits: tuple[StackFit, ...]
    test: Mapping[str, TestErrors]
    duplicates: tuple[Duplicate, ...]
    skipped: tuple[Skipped, ...] = ()
    repeats: tuple[Repeat, ...] = ()


def calibrate(
    jobs: Sequence[Job],
    *,
    tables: Sequence[Path] = (),
    own_stack: str = "",
    with_test: bool = True,
    keep_values: bool = False,
    workers: int | None = None,
    progress: Progress = silent,
) -> Calibration:
    """Fits jobs on the calibration rows of tables.

    Args:
        jobs: parents before the stacks that extend them.
        tables: to read; empty for the shipped ones. One without calibration rows is refused.
        own_stack: path of a stack on which all rows run, whatever their framework.
        with_test: predict the test rows of the tables as well.
        keep_values: see ``fit_all``.
        workers: processes; None for one per processor.
        progress: is told what goes on.

    Raises:
        SpecError: if a table cannot be read, has no calibration rows, or no row can be fitted on.
        UnknownNameError: if there is no table of a source.
    """
    refuse_test_rows(tables)
    shipped = read_tables(published_paths())
    rows, repeats = without_repeats(read_tables(tables)) if tables else (shipped, ())
    _check_sources(jobs, rows)
    rows = rows if own_stack else _rows_of(jobs, rows)
    with ProcessPoolExecutor(workers or os.cpu_count() or 1) as pool:
        observed = observe(
            rows, all_rows=(*shipped, *rows), stack=own_stack, pool=pool, progress=progress
        )
        fits = fit_all(jobs, observed, keep_values=keep_values, pool=pool, progress=progress)
        if not fits:
            raise _nothing_to_fit(jobs, observed)
        test: dict[str, TestErrors] = {}
        skipped = observed.skipped
        if with_test:
            tested = _observe_test(rows, own_stack, pool, progress)
            skipped = (*skipped, *tested.skipped)
            test = {
                fit.job.stack: _test_errors(fit, tested.rows, pool)
                for fit in followed(fits, "Predicting test rows", progress)
            }
    return Calibration(fits, test, observed.duplicates, skipped, repeats)


def _nothing_to_fit(jobs: Sequence[Job], observed: Observations) -> SpecError:
    """Why no row is left: the most frequent reasons, each with its number of rows."""
    reasons = Counter(one.reason for one in observed.skipped)
    if observed.duplicates:
        reasons["a test row is the same measurement"] = len(observed.duplicates)
    total = reasons.total()
    if not total or observed.rows:
        return SpecError(
            f"no calibration row runs on stack {', '.join(job.stack for job in jobs)}",
            hint="name tables with rows of that framework with --rows",
        )
    told = [f"{reason} ({number})" for reason, number in reasons.most_common(_REASONS)]
    more = len(reasons) - len(told)
    rest = f"; and {more} other reason{'s' if more > 1 else ''}" if more else ""
    what = f"none of the {total} calibration rows" if total > 1 else "the only calibration row"
    cannot = "can be used" if total > 1 else "cannot be used"
    return SpecError(
        f"{what} {cannot}: {'; '.join(told)}{rest}",
        where=", ".join(dict.fromkeys(one.row.source for one in observed.skipped)),
        hint="correct the cells, or describe what is not in the catalogue (trainsim list)",
    )


def _rows_of(jobs: Sequence[Job], rows: Sequence[PublishedRow]) -> tuple[PublishedRow, ...]:
    wanted = {stack for job in jobs for stack in job.stacks}
    return tuple(row for row in rows if stack_of(row) in wanted)


def _check_sources(jobs: Sequence[Job], rows: Sequence[PublishedRow]) -> None:
    known = {row.source for row in rows}
    for job in jobs:
        for source in job.sources:
            if source not in known:
                where = f"sources of stack {job.stack}"
                raise UnknownNameError.of("source", source, known, where=where)


def _observe_test(
    rows: Sequence[PublishedRow], own_stack: str, pool: ProcessPoolExecutor, progress: Progress
) -> Observations:
    return observe(
        rows,
        all_rows=(),
        stack=own_stack,
        roles=frozenset({"test"}),
        pool=pool,
        progress=progress,
    )


def _test_errors(
    fit: StackFit, tested: Sequence[Observation], pool: ProcessPoolExecutor
) -> TestErrors:
    """Errors of the test rows on the stacks of a job."""
    rows = [row for row in tested if row.stack in fit.job.stacks]
    if not rows:
        return TestErrors((), ())
    values = {fitted.name: np.array([fitted.shipped, fitted.value]) for fitted in fit.parameters}
    residuals = ResidualModel(rows, fit.job.names, pool).residuals(values)
    return TestErrors(tuple(residuals[0].tolist()), tuple(residuals[-1].tolist()))
