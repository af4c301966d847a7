"""Tokens, deadline and budget in; devices, days, dollars, energy and carbon out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from simulator.errors import SpecError
from simulator.numeric import ceil_div
from simulator.plan import divisors
from simulator.planning.budget import Figure, JobCost, Rates, explained, job_cost, steps_needed
from simulator.planning.variant import (
    Job,
    Prediction,
    attempt,
    check_any_runs,
    nodes_assignment,
)
from simulator.progress import Progress, silent
from simulator.scenario import Scenario

_DOUBLINGS: Final = 4
"""Device counts tried on either side of the scenario's own when none are given."""
_MOST_BETWEEN: Final = 16
"""Device counts tried beside them, where a limit begins or ceases to be met."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What is to be trained, by when, for how much.

    Attributes:
        deadline_s, budget_usd: None where there is none.
    """

    tokens: float
    deadline_s: float | None = None
    budget_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """The job on one number of devices.

    Attributes:
        prediction: one step; None where the plan cannot run on so many devices.
        cost, cost_low, cost_high: the whole job at the predicted step time and at both ends of its
            90 % range.
        reason: why there is no prediction.
        in_time, in_budget: whether it runs and meets the limit; None where there is no limit.
    """

    devices: int
    dp: int
    prediction: Prediction | None
    cost: JobCost | None
    cost_low: JobCost | None
    cost_high: JobCost | None
    reason: str = ""
    in_time: bool | None = None
    in_budget: bool | None = None

    @property
    def runs(self) -> bool:
        """Whether the plan exists and fits in memory."""
        return self.prediction is not None and self.prediction.fits


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """All device counts and those that answer the questions; None where none does.

    Attributes:
        smallest: fewest devices that meet the deadline.
        smallest_sure: fewest that meet it at the slow end of the 90 % range.
        cheapest: fewest dollars (device-hours without a price) in time and within the budget.
        fastest: least time within the budget.
        next_fewer: the count before the smallest, where the batch divides over none between them.
    """

    goal: Goal
    rates: Rates
    options: tuple[Option, ...]
    smallest: int | None
    smallest_sure: int | None
    cheapest: int | None
    fastest: int | None
    next_fewer: int | None = None


def capacity_plan(
    job: Job,
    goal: Goal,
    rates: Rates,
    devices: Sequence[int] = (),
    progress: Progress = silent,
) -> CapacityPlan:
    """The job on a range of device counts: the global batch is fixed, ``dp`` grows.

    Args:
        job: the scenario; its plan gives everything but ``dp`` and the number of nodes.
        goal: tokens, deadline, budget.
        rates: price, power, PUE, carbon intensity, goodput.
        devices: counts to try; powers of two times the scenario's own when empty, and, with a
            deadline or a budget, those between the last that misses it and the first that meets it.
        progress: told before every simulation.

    Raises:
        SpecError: if there is a budget and no price.
        PlanError: if the plan cannot run on any of the counts.
    """
    if goal.budget_usd is not None and rates.usd_per_device_hour is None:
        raise SpecError(
            "a budget needs a price per device and hour",
            where="--budget",
            hint="give --price, for example --price 2.5",
        )
    scenario = job.load()
    counts = tuple(devices) or default_devices(scenario)

    def tried(counts: Sequence[int]) -> list[Option]:
        found: list[Option] = []
        for done, count in enumerate(counts):
            progress(f"Simulating {count:,} devices", done, len(counts))
            found.append(_judged(_option(job, scenario, count, goal, rates), goal))
        return found

    options = tried(sorted(counts))
    if not devices:
        between = tried(counts_between(scenario, options))
        options = sorted([*options, *between], key=lambda option: option.devices)
    replica = scenario.plan.num_devices // scenario.plan.dp
    check_any_runs(
        [f"{o.devices:,} devices: {o.reason}" if o.reason else "" for o in options],
        "--devices",
        f"take multiples of {replica} whose dp divides the global batch of "
        f"{scenario.training.global_batch_size:,}",
    )
    answer = _answer(goal, rates, options)
    return replace(answer, next_fewer=_next_fewer(scenario, answer))


def option_figures(option: Option, goal: Goal, rates: Rates) -> tuple[Figure, ...]:
    """How the figures of an option come about; none where there is no prediction."""
    if option.prediction is None or option.cost is None:
        return ()
    return explained(
        option.cost,
        rates,
        devices=option.devices,
        step_s=option.prediction.step_time_s,
        tokens=goal.tokens,
        tokens_per_step=option.prediction.tokens_per_step,
    )


def default_devices(scenario: Scenario) -> tuple[int, ...]:
    """The scenario's devices times 1/16 to 16 in powers of two, as far as its batch divides."""
    plan, replica, sequences = scenario.plan, *_replica_and_sequences(scenario)
    fewer = [plan.dp >> k for k in range(_DOUBLINGS, 0, -1) if plan.dp % (1 << k) == 0]
    more = [plan.dp << k for k in range(_DOUBLINGS + 1)]
    return tuple(dp * replica for dp in (*fewer, *more) if sequences % dp == 0)


def counts_between(scenario: Scenario, options: Sequence[Option]) -> tuple[int, ...]:
    """Counts that the batch divides between neighbours of which one meets a limit, one does not.

    At most ``_MOST_BETWEEN`` in all, evenly spread.
    """
    replica, sequences = _replica_and_sequences(scenario)
    changes = [
        (low.dp, high.dp)
        for low, high in pairwise(options)
        if (low.in_time, low.in_budget) != (high.in_time, high.in_budget)
    ]
    found = [dp * replica for low, high in changes for dp in divisors(sequences) if low < dp < high]
    every = ceil_div(len(found), _MOST_BETWEEN) or 1
    return tuple(found[every // 2 :: every])


def _replica_and_sequences(scenario: Scenario) -> tuple[int, int]:
    """Devices of a replica, and microbatches of a step, which dp must divide."""
    plan, training = scenario.plan, scenario.training
    replica = plan.num_devices // plan.dp
    return replica, training.global_batch_size // training.micro_batch_size


def _next_fewer(scenario: Scenario, answer: CapacityPlan) -> int | None:
    replica, sequences = _replica_and_sequences(scenario)
    possible = {dp * replica for dp in divisors(sequences)}
    for low, high in pairwise(option.devices for option in answer.options):
        if high == answer.smallest and not any(low < count < high for count in possible):
            return low
    return None


def _judged(option: Option, goal: Goal) -> Option:
    """The option with what it meets."""
    cost = option.cost if option.runs else None

    def meets(value: float | None, limit: float | None) -> bool | None:
        return None if limit is None else value is not None and value <= limit

    return replace(
        option,
        in_time=meets(cost and cost.time_s, goal.deadline_s),
        in_budget=meets(cost and cost.usd, goal.budget_usd),
    )


def _option(job: Job, scenario: Scenario, devices: int, goal: Goal, rates: Rates) -> Option:
    plan = scenario.plan
    replica = plan.num_devices // plan.dp
    empty = Option(devices, devices // replica, None, None, None, None)
    if devices % replica:
        reason = f"not a multiple of tp * cp * pp = {plan.tp} * {plan.cp} * {plan.pp} = {replica}"
        return replace(empty, reason=reason)
    overrides = (f"plan.dp={devices // replica}", nodes_assignment(scenario, devices))
    found, reason = attempt(job, overrides)
    if found is None:
        return replace(empty, reason=reason)
    steps = steps_needed(goal.tokens, found.tokens_per_step)
    ends = (found.step_time_low_s, found.step_time_high_s)
    low, high = (None if end is None else job_cost(steps, end, devices, rates) for end in ends)
    cost = job_cost(steps, found.step_time_s, devices, rates)
    return Option(devices, devices // replica, found, cost, low, high)


def _answer(goal: Goal, rates: Rates, options: Iterable[Option]) -> CapacityPlan:
    """Picks the device counts that answer the questions; of equal ones the smaller."""
    listed = tuple(options)
    costs = [(o.devices, o.cost, o.cost_high) for o in listed if o.runs]
    deadline_s, budget = goal.deadline_s, goal.budget_usd
    in_time = [(n, c) for n, c, _ in costs if c and _within(c.time_s, deadline_s)]
    surely = [n for n, _, high in costs if high and _within(high.time_s, deadline_s)]
    affordable = [(n, c) for n, c, _ in costs if c and _within(c.usd, budget)]
    both = [(n, c) for n, c in in_time if _within(c.usd, budget)]
    return CapacityPlan(
        goal=goal,
        rates=rates,
        options=listed,
        smallest=min((n for n, _ in in_time), default=None) if deadline_s else None,
        smallest_sure=min(surely, default=None) if deadline_s else None,
        cheapest=min(both, key=lambda o: (o[1].device_hours, o[0]), default=(None,))[0],
        fastest=min(affordable, key=lambda o: (o[1].time_s, o[0]), default=(None,))[0],
    )


def _within(value: float | None, limit: float | None) -> bool:
    return limit is None or (value is not None and value <= limit)
