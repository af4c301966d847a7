"""Scalars of software that nobody measured: what fits of the same scalars find elsewhere.

Scalars make up for one another: a stack with no ``memory_scale`` of its own has a larger
``gemm_scale``, and one whose host stalls a smaller ``layer_overhead_s``. So other software is
fitted again with the scalars of the stack at hand, and tells what it then has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from simulator.calibrate.fit_stack import RowErrors, StackFit, start_points
from simulator.calibrate.least_squares import solve
from simulator.calibrate.model import ResidualModel
from simulator.calibrate.observations import Observation
from simulator.calibrate.parameters import PARAMETERS, log_bounds

_MIN_SOURCES: Final = 2
"""A scalar that one other source tells is no more typical than that of the stack extended."""
_ALIKE: Final = 0.1
"""Error that a scalar of other software has even if it describes all rows of that: what fits of
gemm_scale differ by. With 0.05 or 0.2 calibration rows of sources left out come out as well."""


@dataclass(frozen=True, slots=True)
class Told:
    """What the rows of one stack tell of some scalars.

    Attributes:
        tables: that they are from.
        values: of the scalars that they determine.
        error: root mean square of log(predicted / measured) over them.
    """

    tables: frozenset[str]
    values: Mapping[str, float]
    error: float


@dataclass(frozen=True, slots=True)
class OtherSoftware:
    """What fits tell of software whose rows they have not seen.

    The stack that all others extend tells nothing: the scalars of others are relative to its own.

    Attributes:
        fits: of all stacks.
        pool: shares the work.
    """

    fits: Sequence[StackFit]
    pool: ProcessPoolExecutor | None = None
    _told: dict[tuple[str, tuple[str, ...], str], Told] = field(
        default_factory=dict[tuple[str, tuple[str, ...], str], Told],
        init=False,
        repr=False,
        compare=False,
    )

    def typical(self, names: Collection[str], without: str = "") -> dict[str, float]:
        """Weighted geometric means over the stacks that have any of some scalars.

        exp(sum w log(value) / sum w), w = 1 / (0.1^2 + error^2): a fit that does not describe its
        own rows says little of others. Stacks fitted on the same tables count as one.

        Args:
            names: all scalars that the software at hand has.
            without: source whose rows are left out; empty for none.
        """
        groups: dict[frozenset[str], list[Told]] = {}
        for fit in self.fits:
            if not fit.job.is_root and set(fit.job.names) & set(names):
                told = self._of(fit, _comparable(fit, names), without)
                groups.setdefault(told.tables, []).append(told)
        means = {name: _mean(name, groups.values()) for name in names}
        return {name: value for name, value in means.items() if value is not None}

    def complete(self, fit: StackFit) -> StackFit:
        """A fit whose scalars, where no row of another source tells them, are typical ones.

        Where other software tells nothing either, the values of the stack extended stay.
        """
        if fit.job.is_root:
            return fit
        left_out, rows = dict(fit.left_out), fit.rows
        for source, unknown in fit.unknown.items():
            typical = self.typical(fit.job.names, source) if unknown else {}
            instead = {name: typical[name] for name in unknown if name in typical}
            if instead:
                left_out[source] = {**left_out[source], **instead}
                rows = _repredicted(rows, source, left_out[source], self.pool)
        return replace(fit, left_out=left_out, rows=rows)

    def _of(self, fit: StackFit, names: tuple[str, ...], without: str) -> Told:
        key = (fit.job.stack, names, without if without in fit.left_out else "")
        if key not in self._told:
            fitted = names == fit.job.names
            self._told[key] = (
                _as_fitted(fit, without) if fitted else _refitted(fit, names, without, self.pool)
            )
        return self._told[key]


def _comparable(fit: StackFit, names: Collection[str]) -> tuple[str, ...]:
    """Scalars of a fit without those that other ones of their kind would have to make up for."""
    kinds = {PARAMETERS[name].kind for name in names}
    return tuple(n for n in fit.job.names if n in names or PARAMETERS[n].kind not in kinds)


def _mean(name: str, groups: Collection[Sequence[Told]]) -> float | None:
    """Weighted geometric mean of a scalar; None where too few sources tell it."""
    logs: list[float] = []
    weights: list[float] = []
    for group in groups:
        own = [one for one in group if name in one.values]
        if own:
            logs.append(float(np.mean([np.log(one.values[name]) for one in own])))
            weights.append(1 / (_ALIKE**2 + float(np.mean([one.error**2 for one in own]))))
    if len(logs) < _MIN_SOURCES:
        return None
    return float(np.exp(np.average(logs, weights=weights)))


def _as_fitted(fit: StackFit, without: str) -> Told:
    """What a fit tells as it is; its error is that with all of its rows."""
    rows = _rows(fit, without)
    undetermined = {one.name for one in fit.parameters if np.isinf(one.relative_error)}
    unknown = undetermined | fit.unknown.get(without, frozenset())
    values = fit.left_out.get(without, fit.values)
    return Told(
        _tables(rows),
        {name: value for name, value in values.items() if name not in unknown},
        _rms([row.after for row in rows]),
    )


def _refitted(
    fit: StackFit, names: tuple[str, ...], without: str, pool: ProcessPoolExecutor | None
) -> Told:
    """What a fit tells with some of its scalars, the others being those of the stack extended."""
    rows = _rows(fit, without)
    if not rows:
        return Told(frozenset(), {}, 0.0)
    dropped = {name: v for name, v in fit.job.fallback.items() if name not in names}
    model = ResidualModel([_on(row.row, dropped) for row in rows], names, pool)
    starts = start_points(replace(fit.job, names=names))
    masks = np.ones((1, len(rows)), dtype=np.bool_)
    solution = solve(model.at, masks, starts, log_bounds(names))
    values = dict(zip(names, np.exp(solution.log_values[0]).tolist(), strict=True))
    known = dict(zip(names, np.isfinite(solution.relative_errors[0]).tolist(), strict=True))
    return Told(
        _tables(rows),
        {name: value for name, value in values.items() if known[name]},
        _rms(solution.residuals[0].tolist()),
    )


def _rows(fit: StackFit, without: str) -> list[RowErrors]:
    return [row for row in fit.rows if row.fitted_on and row.row.source != without]


def _tables(rows: Sequence[RowErrors]) -> frozenset[str]:
    return frozenset(row.row.source for row in rows)


def _rms(errors: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(errors)))) if errors else 0.0


def _on(row: Observation, values: Mapping[str, float]) -> Observation:
    stack = replace(row.scenario.stack, **values)
    return replace(row, scenario=replace(row.scenario, stack=stack))


def _repredicted(
    rows: tuple[RowErrors, ...],
    source: str,
    values: Mapping[str, float],
    pool: ProcessPoolExecutor | None,
) -> tuple[RowErrors, ...]:
    """Rows, those of a source with the errors that they have at some values without it."""
    own = [row.row for row in rows if row.row.source == source]
    columns = {name: np.array([value]) for name, value in values.items()}
    errors = iter(ResidualModel(own, tuple(values), pool).residuals(columns)[0].tolist())
    return tuple(
        replace(row, source_left_out=next(errors)) if row.row.source == source else row
        for row in rows
    )
