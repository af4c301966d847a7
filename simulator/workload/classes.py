"""The cost table: one row per class of identical ops, priced once, indexed by the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from simulator.numeric import BoolArray, FloatArray, Numeric, whole_ticks

TERMS: Final = (
    "compute",
    "recompute",
    "tp_comm",
    "ep_comm",
    "pp_comm",
    "dp_comm",
    "offload",
    "optimizer",
    "overhead",
)
"""What an op's time can be spent on. Bubbles are not ops; they are what is left."""

SPEED_SCALED: Final[BoolArray] = np.array(
    [term in {"compute", "recompute", "optimizer", "overhead"} for term in TERMS]
)
"""Terms that take longer on a slower device; communication does not."""


@dataclass(frozen=True, slots=True)
class CostTable:
    """Seconds and memory of every op class.

    Attributes:
        names: [classes].
        terms_s: [..., classes, terms], whole ticks; leading axes are a batch.
        alloc_bytes, free_bytes: [classes], memory an op takes when it starts and gives back when
            it ends.
    """

    names: tuple[str, ...]
    terms_s: FloatArray
    alloc_bytes: FloatArray
    free_bytes: FloatArray

    @property
    def seconds(self) -> FloatArray:
        """Duration of every class. [..., classes]."""
        return self.terms_s.sum(axis=-1)

    @property
    def device_s(self) -> FloatArray:
        """Part of the duration that scales with the rank's speed. [..., classes]."""
        return self.terms_s[..., SPEED_SCALED].sum(axis=-1)

    @property
    def waiting_s(self) -> FloatArray:
        """Part that does not: communication. [..., classes]."""
        return self.terms_s[..., ~SPEED_SCALED].sum(axis=-1)


@dataclass(slots=True)
class CostTableDraft:
    """Collects classes while lowering; the same name is the same class."""

    _rows: dict[str, int] = field(default_factory=dict[str, int])
    _terms: list[Mapping[str, Numeric]] = field(default_factory=list[Mapping[str, Numeric]])
    _bytes: list[tuple[float, ...]] = field(default_factory=list[tuple[float, ...]])

    def add(
        self,
        name: str,
        terms: Mapping[str, Numeric],
        *,
        alloc_bytes: float = 0.0,
        free_bytes: float = 0.0,
    ) -> int:
        """Row of the class, new or known."""
        row = self._rows.get(name)
        if row is None:
            row = self._rows[name] = len(self._terms)
            self._terms.append(terms)
            self._bytes.append((alloc_bytes, free_bytes))
        return row

    def halves(self, row: int, elsewhere: Mapping[str, Numeric], *, at_end: str) -> tuple[int, int]:
        """Rows of both halves of a class; the first takes its memory, the second gives it back.

        Args:
            row: of the class.
            elsewhere: seconds of its terms that neither half has.
            at_end: a term that only the second half has.
        """
        name, terms, (alloc, free) = self.names[row], self._terms[row], self._bytes[row]
        half = {
            term: (value - elsewhere.get(term, 0.0)) / 2
            for term, value in terms.items()
            if term != at_end
        }
        ending = {term: value for term, value in terms.items() if term == at_end}
        return (
            self.add(f"{name}, first half", half, alloc_bytes=alloc),
            self.add(f"{name}, second half", {**half, **ending}, free_bytes=free),
        )

    def seconds(self, row: int) -> Numeric:
        """Duration of a class, in whole ticks as in the table."""
        return sum(whole_ticks(np.asarray(value)) for value in self._terms[row].values())

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in row order."""
        return tuple(self._rows)

    def build(self) -> CostTable:
        """The table; terms of a batch broadcast against one another."""
        shape = np.broadcast_shapes(
            *(np.shape(value) for terms in self._terms for value in terms.values())
        )
        terms_s = np.zeros((*shape, len(self._terms), len(TERMS)))
        for row, terms in enumerate(self._terms):
            for term, value in terms.items():
                terms_s[..., row, TERMS.index(term)] = value
        columns = np.array(self._bytes, dtype=np.float64).reshape(-1, 2).T
        return CostTable(self.names, whole_ticks(terms_s), *columns)
