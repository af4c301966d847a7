"""Which rows a fit leaves out: folds, sources, and the ends of every axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from simulator.calibrate.observations import Observation
from simulator.numeric import BoolArray
from simulator.uncertainty import AXES

Kind = Literal["all", "fold", "source", "end"]
NUM_FOLDS: Final = 5
_END_SHARE: Final = 0.25
"""Share of the rows, at most, that is left out at one end of an axis."""
_MIN_LEFT: Final = 5
"""Rows that must be left to fit on when an end of an axis is left out."""


@dataclass(frozen=True, slots=True)
class Subset:
    """Rows that one fit leaves out. [rows]."""

    kind: Kind
    name: str
    left_out: BoolArray


def subsets(rows: Sequence[Observation], counts: BoolArray) -> tuple[Subset, ...]:
    """All fits to do: everything, folds, every source left out, every end of an axis left out.

    Args:
        rows: what is looked at.
        counts: rows that may be fitted on. [rows].
    """
    nothing = np.zeros(len(rows), dtype=np.bool_)
    return (
        Subset("all", "", nothing),
        *_folds(rows),
        *_sources(rows, counts),
        *_ends(rows),
    )


def _folds(rows: Sequence[Observation]) -> list[Subset]:
    """Rows in turn, source by source, so that every fold has some of each."""
    place: dict[str, int] = {}
    fold = np.zeros(len(rows), dtype=np.int64)
    for index, row in enumerate(rows):
        place[row.source] = place.get(row.source, -1) + 1
        fold[index] = place[row.source] % NUM_FOLDS
    return [Subset("fold", str(k), fold == k) for k in range(NUM_FOLDS) if (fold == k).any()]


def _sources(rows: Sequence[Observation], counts: BoolArray) -> list[Subset]:
    names = np.array([row.source for row in rows])
    fitted = dict.fromkeys(names[counts].tolist())
    return [Subset("source", name, names == name) for name in fitted]


def _ends(rows: Sequence[Observation]) -> list[Subset]:
    """Rows beyond a quartile of one size; equal sizes stay together."""
    sizes = np.array([row.setting.sizes for row in rows])
    found: list[Subset] = []
    for axis, name in enumerate(AXES):
        column = sizes[:, axis]
        low, high = np.quantile(column, [_END_SHARE, 1.0 - _END_SHARE], method="nearest")
        for side, left_out in (("low", column < low), ("high", column > high)):
            if left_out.any() and (~left_out).sum() >= _MIN_LEFT:
                found.append(Subset("end", f"{name} {side}", left_out))
    return found
