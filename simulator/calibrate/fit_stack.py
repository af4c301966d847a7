"""Fits the scalars of one stack, and what its calibration rows say of its errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from typing import Final

import numpy as np

from simulator.calibrate.job import Job
from simulator.calibrate.least_squares import solve
from simulator.calibrate.model import ResidualModel
from simulator.calibrate.observations import Observation
from simulator.calibrate.parameters import PARAMETERS, log_bounds
from simulator.calibrate.subsets import Subset, subsets
from simulator.errors import SpecError
from simulator.numeric import BoolArray, FloatArray
from simulator.progress import Progress, silent
from simulator.uncertainty import conformal_quantile, region_of

_SPARE_ROWS: Final = 2
"""Rows beyond the number of scalars without which what is left of a source tells nothing."""


_MAX_STARTS: Final = 256
"""Combinations that are tried, enough for four scalars: all ten would have 174,960."""


@dataclass(frozen=True, slots=True)
class FittedParameter:
    """One scalar before and after.

    Attributes:
        relative_error: standard error of its logarithm; inf where the rows do not tell.
        at_bound: stopped by the bounds of ``PARAMETERS``.
    """

    name: str
    shipped: float
    value: float
    relative_error: float
    at_bound: bool


@dataclass(frozen=True, slots=True)
class Beyond:
    """A row predicted by a fit that saw no row of its end of an axis.

    Attributes:
        doublings: from the region of the rows that were fitted on.
        error: |log(predicted / measured)|.
        spread: of those rows, as the uncertainty model would take it.
    """

    stack: str
    doublings: float
    error: float
    spread: float


@dataclass(frozen=True, slots=True)
class RowErrors:
    """log(predicted / measured) of one row.

    Attributes:
        fitted_on: whether the fit used it.
        before, after: with the shipped and the fitted values.
        cross_validated: by the fit without its fold.
        source_left_out: by the fit without its source.
    """

    row: Observation
    fitted_on: bool
    before: float
    after: float
    cross_validated: float
    source_left_out: float


@dataclass(frozen=True, slots=True)
class StackFit:
    """The result of a job.

    Attributes:
        left_out: source -> values of the scalars fitted without it.
        beyond: rows outside the region of a fit.
        unknown: source -> scalars that the rows of other sources do not tell.
    """

    job: Job
    parameters: tuple[FittedParameter, ...]
    rows: tuple[RowErrors, ...]
    left_out: Mapping[str, Mapping[str, float]]
    beyond: tuple[Beyond, ...]
    unknown: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    @property
    def values(self) -> dict[str, float]:
        """Fitted value of every scalar."""
        return {fitted.name: fitted.value for fitted in self.parameters}


def fit_stack(
    job: Job,
    rows: Sequence[Observation],
    *,
    pool: ProcessPoolExecutor | None = None,
    progress: Progress = silent,
    without: Mapping[str, Mapping[str, float]] | None = None,
) -> StackFit:
    """Fits a job on calibration rows.

    Args:
        job: what to fit.
        rows: calibration rows of its stacks, at least one.
        without: source -> scalar -> value of the parent fitted without that source, where it is
            another than ``job.fallback``.
        pool: shares the work.
        progress: told how many steps of the fit were taken.

    Raises:
        SpecError: if there is something to fit and no row to fit it on.
    """
    assert all(row.role == "calibration" for row in rows)
    counts = np.array([job.counts(row) for row in rows])
    if job.names and not counts.any():
        raise SpecError(
            f"no calibration row of {', '.join(job.sources)} runs on stack {job.stack}",
            hint=f"there are rows of {', '.join(sorted({row.source for row in rows}))}",
        )
    cases = subsets(rows, counts)
    model = ResidualModel(rows, job.names, pool)
    progress("Fitting", 0, None)
    before = model.residuals({k: np.array([v]) for k, v in job.shipped.items()})[0]
    if not job.names:
        same = np.repeat(before[None, :], len(cases), axis=0)
        errors = _row_errors(rows, counts, before, cases, same)
        return StackFit(job, (), errors, {}, _beyond(rows, cases, same))
    fitted = _fitted(job, model, counts, cases, progress, without or {})
    sources = {case.name: i for i, case in enumerate(cases) if case.kind == "source"}
    names = np.array(job.names)
    return StackFit(
        job,
        fitted.parameters,
        _row_errors(rows, counts, before, cases, fitted.residuals),
        {
            s: dict(zip(job.names, fitted.values[i].tolist(), strict=True))
            for s, i in sources.items()
        },
        _beyond(rows, cases, fitted.residuals),
        {s: frozenset(names[~fitted.known[i]].tolist()) for s, i in sources.items()},
    )


@dataclass(frozen=True, slots=True)
class _Fitted:
    """What all subsets give; the first is all rows.

    Attributes:
        values, known: [subsets, parameters].
        residuals: [subsets, rows].
    """

    parameters: tuple[FittedParameter, ...]
    values: FloatArray
    known: BoolArray
    residuals: FloatArray


def _fitted(
    job: Job,
    model: ResidualModel,
    counts: BoolArray,
    cases: Sequence[Subset],
    progress: Progress,
    without: Mapping[str, Mapping[str, float]],
) -> _Fitted:
    """Fits of all subsets.

    What the rows do not determine stays as shipped in the full fit; with rows left out it falls
    back to the parent's value, as if the stack had never been fitted on them.
    """
    masks = np.array([counts & ~case.left_out for case in cases])
    enough = masks.sum(axis=-1) >= len(job.names) + _SPARE_ROWS
    enough[0] = masks[0].sum() > len(job.names)
    # Where too few rows are left the full fit stands in, and is replaced below.
    masks = np.where(enough[:, None], masks, counts)
    solution = solve(model.at, masks, start_points(job), log_bounds(job.names), progress)
    known = np.isfinite(solution.relative_errors) & enough[:, None]
    parents = [dict(job.fallback) | dict(without.get(case.name, {})) for case in cases]
    instead = np.array([[values[name] for name in job.names] for values in parents])
    instead[0] = [job.shipped[name] for name in job.names]
    values = np.where(known, np.exp(solution.log_values), instead)
    residuals = solution.residuals
    if not known.all():
        residuals = model.residuals(dict(zip(job.names, values.T, strict=True)))
    parameters = tuple(
        FittedParameter(
            name,
            job.shipped[name],
            float(values[0, i]),
            float(solution.relative_errors[0, i]),
            bool(solution.at_bound[0, i]),
        )
        for i, name in enumerate(job.names)
    )
    return _Fitted(parameters, values, known, residuals)


def start_points(job: Job) -> FloatArray:
    """Log parameters: what is shipped, and all combinations of the starts.

    Where these are more than ``_MAX_STARTS``, every start alone with the rest as shipped.
    """
    shipped = tuple(max(job.shipped[name], PARAMETERS[name].low) for name in job.names)
    starts = [PARAMETERS[name].starts for name in job.names]
    if math.prod(map(len, starts)) <= _MAX_STARTS:
        return np.log(np.array([shipped, *product(*starts)]))
    alone = [
        (*shipped[:i], value, *shipped[i + 1 :]) for i, own in enumerate(starts) for value in own
    ]
    return np.log(np.array([shipped, *alone]))


def _row_errors(
    rows: Sequence[Observation],
    counts: BoolArray,
    before: FloatArray,
    cases: Sequence[Subset],
    residuals: FloatArray,
) -> tuple[RowErrors, ...]:
    """Errors of every row under the fits that did not see it."""
    by_kind: dict[str, FloatArray] = {}
    for kind in ("fold", "source"):
        chosen = residuals[0].copy()
        for case, values in zip(cases, residuals, strict=True):
            if case.kind == kind:
                chosen[case.left_out] = values[case.left_out]
        by_kind[kind] = chosen
    columns = (before, residuals[0], by_kind["fold"], by_kind["source"])
    return tuple(
        RowErrors(row, bool(counted), *map(float, errors))
        for row, counted, errors in zip(rows, counts, zip(*columns, strict=True), strict=True)
    )


def _beyond(
    rows: Sequence[Observation], cases: Sequence[Subset], residuals: FloatArray
) -> tuple[Beyond, ...]:
    """Rows of every end that was left out, on accelerators that the rest has."""
    found: list[Beyond] = []
    for case, values in zip(cases, residuals, strict=True):
        if case.kind == "end":
            for stack in dict.fromkeys(row.stack for row in rows):
                own = np.array([row.stack == stack for row in rows])
                found += _beyond_of(stack, rows, own, case.left_out, np.abs(values))
    return tuple(found)


def _beyond_of(
    stack: str, rows: Sequence[Observation], own: BoolArray, left_out: BoolArray, errors: FloatArray
) -> list[Beyond]:
    rest = np.flatnonzero(own & ~left_out)
    spread = conformal_quantile(errors[rest].tolist())
    if spread is None:
        return []
    found: list[Beyond] = []
    for index in np.flatnonzero(own & left_out).tolist():
        setting = rows[index].setting
        settings = [rows[i].setting for i in rest.tolist()]
        same = [one for one in settings if one.accelerator == setting.accelerator]
        if same:
            distance = region_of(same).doublings_to(setting)
            found.append(Beyond(stack, distance, float(errors[index]), spread))
    return [one for one in found if one.doublings > 0]
