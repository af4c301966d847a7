"""Step time and memory of every candidate, in batches of equal structure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simulator.numeric import BoolArray, FloatArray, IntArray
from simulator.scenario import Scenario
from simulator.search.prices import Prices
from simulator.search.space import Candidates
from simulator.search.step_time import PIPELINE, step_times_s
from simulator.search.unique import codes
from simulator.topology import Topology


@dataclass(frozen=True, slots=True)
class Evaluation:
    """[candidates] each.

    Attributes:
        step_time_s: of the op graph without contention: the step time where ``exact``, else a
            lower bound.
        peak_bytes: of the worst rank.
        exact: no link is shared, and all replicas and ranks are alike.
    """

    step_time_s: FloatArray
    peak_bytes: FloatArray
    exact: BoolArray


def groups(candidates: Candidates) -> Iterator[IntArray]:
    """Rows of candidates whose passes have one structure."""
    columns = candidates.columns()
    code = codes([columns[name] for name in PIPELINE])
    order = np.argsort(code, kind="stable")
    bounds = np.flatnonzero(np.diff(code[order])) + 1
    yield from np.split(order, bounds)


def prices_of(base: Scenario, devices: int) -> Prices:
    """Prices of a search over a base scenario."""
    return Prices(base, devices, Topology.of(base.cluster))


def step_times(candidates: Candidates, prices: Prices) -> FloatArray:
    """Step times, or their lower bounds. [candidates]."""
    seconds = np.empty(len(candidates))
    for rows in groups(candidates):
        seconds[rows] = step_times_s(candidates.take(rows), prices)
    return seconds
