"""Candidates of one pipeline, which are evaluated together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from simulator.machine import Accelerator
from simulator.numeric import IntArray
from simulator.schedule.action import Schedule
from simulator.schedule.table import build_schedule
from simulator.search.layout import Layout, Pipeline
from simulator.search.prices import Prices
from simulator.search.space import SCHEDULE_NAMES, Candidates
from simulator.search.steady import representative

PIPELINE: Final = ("pp", "virtual_stages", "schedule", "balanced")
"""Columns that shape the passes, beside the number of microbatches."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Candidates of one pipeline, and where their prices are.

    Attributes:
        candidates: that agree in the columns ``PIPELINE`` and in ``representative``.
        spot: [candidates], row of ``prices.spots``.
        prices: of the search.
        pipeline: its schedule has the fewest microbatches of which each candidate's are an
            extension by whole periods.
    """

    candidates: Candidates
    spot: IntArray
    prices: Prices
    pipeline: Pipeline

    @classmethod
    def of(cls, candidates: Candidates, spot: IntArray, prices: Prices) -> Batch:
        """A batch of at least one candidate; see the attributes."""
        columns = candidates.columns()
        first = {name: int(columns[name][0]) for name in (*PIPELINE, "microbatches")}
        name, pp, chunks = SCHEDULE_NAMES[first["schedule"]], first["pp"], first["virtual_stages"]
        count = representative(name, pp, chunks, first["microbatches"])
        schedule = build_schedule(name, pp, count, chunks)
        balanced = bool(first["balanced"])
        layout = Layout.of(prices.base, schedule.num_stages, balanced=balanced)
        return cls(candidates, spot, prices, Pipeline(schedule, layout))

    def __len__(self) -> int:
        return len(self.candidates)

    @property
    def schedule(self) -> Schedule:
        """Order of the passes."""
        return self.pipeline.schedule

    @property
    def accelerator(self) -> Accelerator:
        """On which all candidates run."""
        return self.prices.base.cluster.node.accelerator

    @property
    def layout(self) -> Layout:
        """How the model lies on the stages."""
        return self.pipeline.layout

    def take(self, rows: IntArray) -> Batch:
        """Some of the candidates."""
        return Batch(self.candidates.take(rows), self.spot[rows], self.prices, self.pipeline)
