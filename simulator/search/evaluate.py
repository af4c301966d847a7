"""Step time and memory of every candidate, in batches of equal structure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simulator.numeric import BoolArray, FloatArray, IntArray
from simulator.progress import Progress, silent
from simulator.scenario import Scenario
from simulator.search.batch import PIPELINE, Batch
from simulator.search.footprint import peak_bytes
from simulator.search.policies import gathers_before_use
from simulator.search.prices import Prices
from simulator.search.space import SCHEDULE_NAMES, Candidates
from simulator.search.steady import representative
from simulator.search.step_time import step_times_s
from simulator.search.unique import codes, distinct


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
    """Rows of candidates whose passes have one structure, but for the number of its periods."""
    if not len(candidates):
        return
    columns = candidates.columns()
    code = codes([*(columns[name] for name in PIPELINE), _representatives(candidates)])
    order = np.argsort(code, kind="stable")
    bounds = np.flatnonzero(np.diff(code[order])) + 1
    yield from np.split(order, bounds)


def _representatives(candidates: Candidates) -> IntArray:
    """Microbatches of the shortest step of which each is an extension. [candidates]."""
    pipelines = [candidates.schedule, candidates.pp, candidates.virtual_stages]
    unique, inverse = distinct([*pipelines, candidates.microbatches])
    rows: list[list[int]] = unique.tolist()
    fewest = [
        representative(SCHEDULE_NAMES[schedule], pp, chunks, count)
        for schedule, pp, chunks, count in rows
    ]
    return np.array(fewest, dtype=np.int64)[inverse]


def evaluate(
    base: Scenario,
    devices: int,
    candidates: Candidates,
    capacity_bytes: float = math.inf,
    progress: Progress = silent,
) -> Evaluation:
    """Step time and memory of every candidate.

    Args:
        base: what candidates do not say.
        devices: that all of them use.
        candidates: plans that keep the rules.
        capacity_bytes: candidates that need more are not timed; their step time is infinite.
        progress: told after every batch how many are evaluated.
    """
    done = 0
    progress("Evaluating plans", done, len(candidates))
    prices = Prices.of(base, devices, candidates)
    seconds = np.full(len(candidates), np.inf)
    peak = np.empty(len(candidates))
    exact = np.zeros(len(candidates), dtype=np.bool_)
    for group in groups(candidates):
        batch = Batch.of(candidates.take(group), prices.spot[group], prices)
        peak[group] = peak_bytes(batch)
        fits = np.flatnonzero(peak[group] <= capacity_bytes)
        if fits.size:
            batch, rows = batch.take(fits), group[fits]
            seconds[rows] = step_times_s(batch)
            exact[rows] = _exact(batch)
        done += group.size
        progress("Evaluating plans", done, len(candidates))
    return Evaluation(seconds, peak, exact)


def _exact(batch: Batch) -> BoolArray:
    """Whether no link is shared and all replicas are alike. [candidates]."""
    candidates, schedule, base = batch.candidates, batch.schedule, batch.prices.base
    uniform = not base.stragglers and base.cluster.slow_hosts is None
    if schedule.num_ranks == 1:
        return np.full(len(batch), uniform)
    unique, inverse = distinct([candidates.tp])
    alone = np.zeros((len(unique), 2), dtype=np.bool_)
    for row, (tp,) in enumerate(unique.tolist()):
        paths = batch.prices.paths(tp, schedule.num_ranks, schedule.stage_rank)
        one_class = uniform and len(paths) == 1
        crosses = any(path is not None and path.crosses_network for path in paths[0])
        alone[row] = one_class, one_class and not crosses
    return alone[inverse, candidates.overlap_pp] & ~gathers_before_use(candidates)
