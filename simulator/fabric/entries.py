"""The flow-link pairs of flows that come and go, kept ready for the solver of many flows."""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.fabric.fair import Incidence, Loads

_NONE: Final = -1


class Entries:
    """Pairs in arrays that grow; those of flows that left are swept out once they are the most."""

    def __init__(self) -> None:
        self._row = np.full(64, _NONE)
        self._link = np.zeros(64, dtype=np.int64)
        self._share = np.zeros(64)
        self._used = 0
        self._alive = 0
        self._place: dict[int, tuple[int, int]] = {}

    def add(self, row: int, loads: Loads) -> None:
        """The pairs of a flow."""
        if self._used + len(loads) > len(self._row) and 2 * self._alive < self._used:
            self._sweep()
        first, last = self._used, self._used + len(loads)
        while last > len(self._row):
            self._row = np.concatenate([self._row, np.full_like(self._row, _NONE)])
            self._link = np.concatenate([self._link, np.zeros_like(self._link)])
            self._share = np.concatenate([self._share, np.zeros_like(self._share)])
        self._row[first:last] = row
        self._link[first:last] = [link for link, _ in loads]
        self._share[first:last] = [share for _, share in loads]
        self._place[row] = first, last
        self._used = last
        self._alive += len(loads)

    def remove(self, row: int) -> None:
        """Forgets the pairs of a flow."""
        first, last = self._place.pop(row)
        self._row[first:last] = _NONE
        self._alive -= last - first

    @property
    def capacity(self) -> int:
        """Pairs for which there is room."""
        return len(self._row)

    def incidence(self) -> Incidence:
        """All pairs."""
        if 2 * self._alive < self._used:
            self._sweep()
        used = slice(0, self._used)
        kept = self._row[used] != _NONE
        return Incidence(self._row[used][kept], self._link[used][kept], self._share[used][kept])

    def _sweep(self) -> None:
        kept = np.flatnonzero(self._row[: self._used] != _NONE)
        for column in (self._row, self._link, self._share):
            column[: len(kept)] = column[kept]
        self._row[len(kept) :] = _NONE
        place = 0
        for row, (first, last) in self._place.items():
            self._place[row] = place, place + last - first
            place += last - first
        self._used = place
