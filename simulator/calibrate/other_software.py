"""Scalars of software that nobody measured: what the fits of other software found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Final

import numpy as np

from simulator.calibrate.fit_stack import RowErrors, StackFit
from simulator.calibrate.model import ResidualModel

_MIN_SOURCES: Final = 2
"""A scalar that one other source tells is no more typical than that of the stack extended."""


def typical_values(fits: Iterable[StackFit], without: str = "") -> dict[str, float]:
    """Geometric means of the scalars that fits determine with the rows of a source left out.

    Stacks that were fitted on the same tables count as one. The stack that all others extend does
    not count: its scalars are what the others' are relative to.

    Args:
        fits: of stacks.
        without: source whose rows are left out; empty for none.
    """
    found: dict[str, dict[frozenset[str], list[float]]] = {}
    for fit in fits:
        if fit.job.is_root:
            continue
        tables = frozenset(row.row.source for row in fit.rows if row.fitted_on)
        for name, value in _determined(fit, without).items():
            found.setdefault(name, {}).setdefault(tables - {without}, []).append(value)
    return {
        name: float(np.exp(np.mean([np.mean(np.log(own)) for own in by_table.values()])))
        for name, by_table in found.items()
        if len(by_table) >= _MIN_SOURCES
    }


def _determined(fit: StackFit, without: str) -> dict[str, float]:
    values = fit.left_out.get(without, fit.values)
    undetermined = {one.name for one in fit.parameters if np.isinf(one.relative_error)}
    unknown = undetermined | fit.unknown.get(without, frozenset())
    return {name: value for name, value in values.items() if name not in unknown}


def as_other_software(
    fit: StackFit, fits: Iterable[StackFit], pool: ProcessPoolExecutor | None = None
) -> StackFit:
    """A fit whose scalars, where no row of another source tells them, are those of other software.

    Where other software tells nothing either, the values of the stack extended stay.

    Args:
        fit: to complete.
        fits: all fits, itself included.
        pool: shares the work.
    """
    if fit.job.is_root:
        return fit
    left_out, rows = dict(fit.left_out), fit.rows
    for source, unknown in fit.unknown.items():
        typical = typical_values(fits, source)
        instead = {name: typical[name] for name in unknown if name in typical}
        if instead:
            left_out[source] = {**left_out[source], **instead}
            rows = _repredicted(rows, source, left_out[source], pool)
    return replace(fit, left_out=left_out, rows=rows)


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
