"""From the errors of fits to the spreads that predictions carry (``uncertainty.py``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.calibrate.fit_stack import Beyond, RowErrors, StackFit
from simulator.errors import SpecError
from simulator.uncertainty import (
    LEVEL,
    PooledSpread,
    Region,
    StackSpread,
    conformal_quantile,
    region_of,
    width_at,
)

_ROWS_PER_SOURCE: Final = 20
"""Rows of one source that count in the pooled spread, so that no long table decides it."""
_FADES: Final = (16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25)
"""Distances among which the slowest fading that covers enough is taken."""


@dataclass(frozen=True, slots=True)
class MeasuredSpread:
    """The spread of one stack, with the rows behind every region."""

    spread: StackSpread
    rows_per_accelerator: Mapping[str, int]


def stack_spreads(
    fits: Iterable[StackFit], *, as_shipped: bool = False
) -> dict[str, MeasuredSpread]:
    """Spread of every stack that has calibration rows, from cross-validated errors.

    Args:
        fits: of the stacks.
        as_shipped: for files that keep the values they have: no less than the spread of the
            errors with those. Rows they were fitted on flatter them, so that the cross-validated
            spread still counts.
    """
    by_stack: dict[str, list[RowErrors]] = {}
    for fit in fits:
        for row in fit.rows:
            by_stack.setdefault(row.row.stack, []).append(row)
    return {stack: _measured(rows, as_shipped) for stack, rows in sorted(by_stack.items())}


def _measured(rows: Sequence[RowErrors], as_shipped: bool) -> MeasuredSpread:
    settings = [row.row.setting for row in rows]
    by_accelerator = {
        name: [one for one in settings if one.accelerator == name]
        for name in sorted({one.accelerator for one in settings})
    }
    regions: dict[str, Region] = {name: region_of(own) for name, own in by_accelerator.items()}
    spread = conformal_quantile([abs(row.cross_validated) for row in rows])
    kept = conformal_quantile([abs(row.before) for row in rows])
    if as_shipped and spread is not None and kept is not None:
        spread = max(spread, kept)
    counts = {name: len(own) for name, own in by_accelerator.items()}
    return MeasuredSpread(StackSpread(spread, len(rows), regions), counts)


def pooled_spread(fits: Sequence[StackFit]) -> PooledSpread:
    """The spread over sources that a fit has not seen, and how own knowledge fades towards it.

    Raises:
        SpecError: if there are too few rows.
    """
    by_source: dict[str, list[float]] = {}
    for fit in fits:
        for row in fit.rows:
            by_source.setdefault(row.row.source, []).append(abs(row.source_left_out))
    errors = [error for source in by_source.values() for error in _thinned(source)]
    spread = conformal_quantile(errors)
    if spread is None:
        raise SpecError(f"{len(errors)} calibration rows are too few for a 90 % range")
    beyond = [one for fit in fits for one in fit.beyond]
    return PooledSpread(spread, fade_doublings(beyond, spread), len(errors), len(by_source))


def _thinned(errors: Sequence[float]) -> list[float]:
    """At most ``_ROWS_PER_SOURCE`` of them, evenly spaced."""
    places = np.linspace(0, len(errors) - 1, min(len(errors), _ROWS_PER_SOURCE)).round()
    return [errors[int(place)] for place in places]


def fade_doublings(beyond: Sequence[Beyond], pooled: float) -> float:
    """The slowest fading with which 90 % of the rows beyond a region lie in their range.

    Every stack weighs the same, however many rows it has.
    """
    for fade in _FADES:
        if _coverage(beyond, pooled, fade) >= LEVEL:
            return fade
    return _FADES[-1]


def _coverage(beyond: Sequence[Beyond], pooled: float, fade: float) -> float:
    inside: dict[str, list[bool]] = {}
    for one in beyond:
        width = width_at(one.doublings, one.spread, pooled, fade)
        inside.setdefault(one.stack, []).append(one.error <= width)
    shares = [sum(own) / len(own) for own in inside.values()]
    return sum(shares) / len(shares) if shares else 1.0
