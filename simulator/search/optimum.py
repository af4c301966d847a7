"""The best plans of a space, proven: by rules, by memory, by certified bounds, by simulation.

Every candidate's step time without contention is known (``evaluate``). It is the step time where
no link is shared, and a lower bound otherwise (docs/decisions/0001). Candidates are simulated in
the order of that bound until the next bound is no better than what was found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.engine.breakdown import period_s
from simulator.errors import NothingFitsError, PlanError
from simulator.numeric import BoolArray, IntArray
from simulator.progress import Progress, followed, part_of, silent
from simulator.scenario import Scenario
from simulator.search.enumeration import Enumeration, enumerate_candidates
from simulator.search.evaluate import Evaluation, evaluate
from simulator.search.frontier import pareto_front
from simulator.search.objective import Setting, cost_per_token, objective
from simulator.search.space import (
    Candidates,
    Space,
    candidate_scenario,
    settings,
)
from simulator.simulate import run_step
from simulator.step import build_step

_REASONS: Final = 5
"""Reasons that the error names where no plan can run."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What is sought.

    Attributes:
        objective: a name of ``OBJECTIVES``.
        top: how many of the best plans are proven.
        headroom: share of the memory that must stay free.
        price_per_device_hour: for costs.
    """

    objective: str = "step_time"
    top: int = 5
    headroom: float = 0.0
    price_per_device_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """One plan.

    Attributes:
        row: of the candidates.
        settings: key -> value that makes the base scenario this plan.
        verified: the step time is that of a run; else it is a lower bound.
    """

    row: int
    devices: int
    settings: Mapping[str, object]
    step_time_s: float
    tokens_per_s: float
    peak_bytes: float
    cost_per_token: float | None
    verified: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """Where the combinations went.

    Attributes:
        enumerated: candidates that keep the rules, all evaluated.
        by_rule: combinations of the axes that break a rule.
        by_memory: candidates that do not fit.
        by_bound: candidates that cannot be among the best, as their bound shows.
        verified: candidates that were simulated.
        same: combinations that are the same plan as another.
    """

    enumerated: int
    by_rule: int
    by_memory: int
    by_bound: int
    verified: int
    same: int = 0


@dataclass(frozen=True, slots=True)
class Infeasible:
    """A reason why plans cannot run.

    Attributes:
        count: combinations, of all axes.
        example: one of them.
    """

    reason: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        best: the best plans in order, proven.
        front: plans that no other beats in time, memory and devices.
        scenarios: of the best plans, in order.
    """

    goal: Goal
    counts: Counts
    best: tuple[Found, ...]
    front: tuple[Found, ...]
    infeasible: tuple[Infeasible, ...]
    scenarios: tuple[Scenario, ...]


@dataclass(slots=True)
class _Pool:
    """All candidates of a search, and the times that simulations have corrected."""

    base: Scenario
    candidates: Candidates
    devices: IntArray
    times: Evaluation
    verified: dict[int, float]

    def known_s(self, row: int) -> float:
        """Step time as far as it is known, without another simulation."""
        return self.verified.get(row, float(self.times.step_time_s[row]))

    def step_time_s(self, row: int) -> float:
        """Step time of a candidate: as evaluated where that is exact, else simulated."""
        if self.times.exact[row]:
            return float(self.times.step_time_s[row])
        if row not in self.verified:
            self.verified[row] = simulated_step_s(
                candidate_scenario(self.base, self.candidates, row)
            )
        return self.verified[row]


def simulated_step_s(scenario: Scenario) -> float:
    """Step time as ``simulate`` predicts it, without a report."""
    step = build_step(scenario)
    timeline, _ = run_step(step)
    return period_s(timeline, joined=step.schedule.joins_before_optimizer)


def search(
    base: Scenario,
    spaces: Sequence[Space],
    goal: Goal,
    progress: Progress = silent,
) -> SearchResult:
    """The best plans of some spaces, proven.

    Args:
        base: gives what the space does not vary: model, batch, cluster, software.
        spaces: one per number of devices.
        goal: objective and constraints.
        progress: told how many plans are evaluated of how many, and how many simulated.

    Raises:
        PlanError: if no plan keeps the rules; NothingFitsError if none of those that do fits.
    """
    found = [
        enumerate_candidates(base, space)
        for space in followed(spaces, "Enumerating plans", progress)
    ]
    return _searched(base, found, goal, progress)


def search_among(base: Scenario, candidates: Candidates, goal: Goal) -> SearchResult:
    """The best of some candidates, proven as in ``search``.

    Args:
        base: what candidates do not say.
        candidates: for example some scenarios as ``chosen_candidates``; their ``row`` in what is
            found is that among these.
        goal: objective and constraints.

    Raises:
        PlanError: if no plan keeps the rules; NothingFitsError if none of those that do fits.
    """
    return _searched(base, [Enumeration(candidates, {}, {})], goal, silent)


def _searched(
    base: Scenario, found: Sequence[Enumeration], goal: Goal, progress: Progress
) -> SearchResult:
    # A wrong goal is refused before minutes are spent.
    objective(goal.objective)(1.0, Setting(1.0, 1.0, goal.price_per_device_hour))
    capacity = base.cluster.node.accelerator.memory_bytes * (1 - goal.headroom)
    pool = _evaluated(base, found, capacity, progress)
    fits = pool.times.peak_bytes <= capacity
    infeasible = _infeasible(pool, found, fits, capacity)
    if not fits.any():
        raise _nothing_fits(pool, capacity, infeasible)
    rows = _proven(pool, np.flatnonzero(fits), goal, progress)
    front = _front(pool, fits)
    counts = Counts(
        enumerated=len(pool.candidates),
        by_rule=sum(sum(one.pruned.values()) for one in found),
        by_memory=int(np.count_nonzero(~fits)),
        by_bound=int(np.count_nonzero(fits)) - len(set(rows) | set(pool.verified)),
        verified=len(set(rows) | set(pool.verified)),
        same=sum(one.same for one in found),
    )
    return SearchResult(
        goal=goal,
        counts=counts,
        best=tuple(_found(pool, row, goal) for row in rows),
        front=tuple(_found(pool, row, goal) for row in front),
        infeasible=infeasible,
        scenarios=tuple(candidate_scenario(base, pool.candidates, row) for row in rows),
    )


def _nothing_fits(pool: _Pool, capacity: float, infeasible: Sequence[Infeasible]) -> PlanError:
    """No plan keeps the rules, or none of those that do fits; with the most frequent reasons."""
    reasons = "".join(
        f"\n  {one.count:,}: {one.reason}, for example {one.example}"
        for one in infeasible[:_REASONS]
    )
    if not len(pool.candidates):
        return PlanError(
            f"no combination keeps the rules{reasons}",
            hint="take another number of devices, or another batch with --set",
        )
    return NothingFitsError(
        f"none of {len(pool.candidates):,} plans fits: the smallest needs "
        f"{pool.times.peak_bytes.min() / 1e9:.1f} of {capacity / 1e9:.1f} GB{reasons}",
        hint="take more devices, a smaller batch or sequence, or less --headroom",
    )


def _evaluated(
    base: Scenario, found: Sequence[Enumeration], capacity: float, progress: Progress
) -> _Pool:
    columns = [one.candidates.columns() for one in found]
    candidates = Candidates(
        **{name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    )
    devices = candidates.tp * candidates.pp * candidates.dp
    times = Evaluation(
        np.empty(len(candidates)),
        np.empty(len(candidates)),
        np.empty(len(candidates), dtype=np.bool_),
    )
    done = 0
    for count in np.unique(devices).tolist():
        rows = np.flatnonzero(devices == count)
        told = part_of(progress, done, len(candidates))
        part = evaluate(base, count, candidates.take(rows), capacity, told)
        done += rows.size
        times.step_time_s[rows] = part.step_time_s
        times.peak_bytes[rows] = part.peak_bytes
        times.exact[rows] = part.exact
    return _Pool(base, candidates, devices, times, {})


def _setting(pool: _Pool, goal: Goal, rows: IntArray) -> Setting:
    training = pool.base.training
    return Setting(
        tokens=training.global_batch_size * training.seq_length,
        devices=pool.devices[rows].astype(np.float64),
        price_per_device_hour=goal.price_per_device_hour,
    )


def _proven(pool: _Pool, rows: IntArray, goal: Goal, progress: Progress) -> list[int]:
    """The best ``goal.top`` rows: no other can be better than the last of them."""
    value_of = objective(goal.objective)
    bounds = np.asarray(value_of(pool.times.step_time_s[rows], _setting(pool, goal, rows)))
    best: list[tuple[float, int]] = []
    # Equal bounds go in the order of enumeration: the result does not depend on chance.
    for place in np.argsort(bounds, kind="stable").tolist():
        if len(best) >= goal.top and bounds[place] >= best[-1][0]:
            break
        row = int(rows[place])
        progress("Simulating plans", len(pool.verified), None)
        seconds = np.array([pool.step_time_s(row)])
        value = np.asarray(value_of(seconds, _setting(pool, goal, rows[place : place + 1])))
        best = sorted([*best, (float(value[0]), row)])[: goal.top]
    return [row for _, row in best]


def _front(pool: _Pool, fits: BoolArray) -> list[int]:
    """Front of time, memory and devices; unverified times of plans that share links are bounds."""
    rows = np.flatnonzero(fits)
    seconds = np.array([pool.known_s(row) for row in rows.tolist()])
    devices = pool.devices[rows].astype(np.float64)
    front = pareto_front((seconds, pool.times.peak_bytes[rows], devices))
    return [int(row) for row in rows[front]]


def _found(pool: _Pool, row: int, goal: Goal) -> Found:
    seconds = pool.known_s(row)
    setting = _setting(pool, goal, np.array([row]))
    cost = None
    if goal.price_per_device_hour is not None:
        cost = float(np.asarray(cost_per_token(np.array([seconds]), setting))[0])
    return Found(
        row=row,
        devices=int(pool.devices[row]),
        settings=settings(pool.base, pool.candidates, row),
        step_time_s=seconds,
        tokens_per_s=setting.tokens / seconds,
        peak_bytes=float(pool.times.peak_bytes[row]),
        cost_per_token=cost,
        verified=row in pool.verified or bool(pool.times.exact[row]),
    )


def _infeasible(
    pool: _Pool, found: Sequence[Enumeration], fits: BoolArray, capacity: float
) -> tuple[Infeasible, ...]:
    """Reasons with counts, the most frequent first."""
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for one in found:
        counts.update(one.pruned)
        examples = {**one.examples, **examples}
    reasons = [Infeasible(rule, count, examples[rule]) for rule, count in counts.items()]
    too_large = np.flatnonzero(~fits)
    if too_large.size:
        demand = pool.times.peak_bytes[too_large]
        nearest = int(too_large[np.argmin(demand)])
        reasons.append(
            Infeasible(
                f"needs more than {capacity / 1e9:.1f} GB of memory (up to "
                f"{demand.max() / 1e9:,.0f} GB)",
                int(too_large.size),
                f"{demand.min() / 1e9:.1f} GB with "
                + ", ".join(
                    f"{k.rpartition('.')[2]} {v}"
                    for k, v in list(settings(pool.base, pool.candidates, nearest).items())[:5]
                ),
            )
        )
    return tuple(sorted(reasons, key=lambda reason: (-reason.count, reason.reason)))
