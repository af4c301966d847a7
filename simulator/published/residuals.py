"""Where predictions are off: errors of one source grouped by what its runs differ in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from simulator.published.facts import Level
from simulator.published.results import RowResult

OFF: Final = 0.05
"""A group stands out if its median error is farther than this from the median of its source."""
LEAST_ROWS: Final = 3
"""Groups of fewer rows do not stand out, nor is a source of fewer rows studied."""
_MAX_LEVELS: Final = 8
"""A factor with more numbers is grouped by powers of two."""


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of a source in which a factor has one value.

    Attributes:
        median: of the signed errors.
        mape: mean of their sizes.
        stands_out: whether the median is off by more than that of the source.
    """

    level: str
    count: int
    median: float
    mape: float
    stands_out: bool


@dataclass(frozen=True, slots=True)
class Factor:
    """A factor that varies in a source.

    Attributes:
        name: of the factor; of several that divide the rows alike, all names.
        explained: R^2 of one-way analysis of variance of log(predicted / measured): squares
            between the groups / all squares; many groups explain much by chance.
        adjusted: 1 - (1 - R^2) (n - 1) / (n - k) for n rows in k groups, which corrects for that.
    """

    name: str
    explained: float
    adjusted: float
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """Errors of one source: all, and by factor, what explains most first."""

    source: str
    count: int
    bias: float
    median: float
    mape: float
    factors: tuple[Factor, ...]


def studies(rows: Sequence[RowResult]) -> tuple[Study, ...]:
    """The test rows of every source that has enough of them."""
    by_source: dict[str, list[RowResult]] = {}
    for row in rows:
        if row.role == "test" and row.error is not None and row.facts is not None:
            by_source.setdefault(row.source, []).append(row)
    return tuple(
        _study(source, found) for source, found in by_source.items() if len(found) >= LEAST_ROWS
    )


def _study(source: str, rows: Sequence[RowResult]) -> Study:
    errors = _errors(rows)
    middle = median(errors)
    levels = _levels([row.facts.factors for row in rows if row.facts is not None])
    factors = [
        _factor(names, levels[names[0]], errors, middle)
        for names in _alike(levels)
        if len(set(levels[names[0]])) > 1
    ]
    return Study(
        source=source,
        count=len(rows),
        bias=fmean(errors),
        median=middle,
        mape=fmean(map(abs, errors)),
        factors=tuple(sorted(factors, key=lambda factor: -factor.adjusted)),
    )


def _errors(rows: Sequence[RowResult]) -> list[float]:
    return [row.error for row in rows if row.error is not None]


def _levels(factors: Sequence[Mapping[str, Level]]) -> dict[str, list[Level]]:
    """The values of every factor, in ranges of a factor of two where there are too many numbers."""
    levels: dict[str, list[Level]] = {}
    for name in factors[0]:
        values = [each[name] for each in factors]
        numbers = [float(value) for value in values if not isinstance(value, str)]
        if len(numbers) == len(values) and len(set(values)) > _MAX_LEVELS:
            levels[f"{name}, from"] = [2.0 ** math.floor(math.log2(value)) for value in numbers]
        else:
            levels[name] = values
    return levels


def _alike(levels: dict[str, list[Level]]) -> list[list[str]]:
    """Names of the factors, those together that divide the rows in the same way."""
    same: dict[tuple[int, ...], list[str]] = {}
    for name, values in levels.items():
        numbers = {value: index for index, value in enumerate(dict.fromkeys(values))}
        same.setdefault(tuple(numbers[value] for value in values), []).append(name)
    return list(same.values())


def _factor(
    names: Sequence[str], levels: Sequence[Level], errors: Sequence[float], middle: float
) -> Factor:
    groups: dict[Level, list[float]] = {}
    for level, error in zip(levels, errors, strict=True):
        groups.setdefault(level, []).append(error)
    explained = variance_explained([[math.log1p(e) for e in group] for group in groups.values()])
    spare = len(errors) - len(groups)
    return Factor(
        name=" = ".join(names),
        explained=explained,
        adjusted=1 - (1 - explained) * (len(errors) - 1) / spare if spare else 0.0,
        groups=tuple(_group(level, groups[level], middle) for level in sorted(groups, key=_order)),
    )


def variance_explained(groups: Sequence[Sequence[float]]) -> float:
    """R^2 = sum over groups of n_g (mean_g - mean)^2 / sum of (x - mean)^2; 0 if all are equal."""
    mean = fmean(value for group in groups for value in group)
    total = sum((value - mean) ** 2 for group in groups for value in group)
    between = sum(len(group) * (fmean(group) - mean) ** 2 for group in groups)
    return between / total if total else 0.0


def _group(level: Level, errors: Sequence[float], middle: float) -> Group:
    own = median(errors)
    return Group(
        level=level if isinstance(level, str) else f"{level:g}",
        count=len(errors),
        median=own,
        mape=fmean(map(abs, errors)),
        stands_out=len(errors) >= LEAST_ROWS and abs(own - middle) > OFF,
    )


def _order(level: Level) -> tuple[int, float, str]:
    return (1, 0.0, level) if isinstance(level, str) else (0, float(level), "")
