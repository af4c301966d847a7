"""Tokens, deadline and budget in; devices, days, dollars, energy and carbon out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from simulator.errors import SpecError
from simulator.planning.budget import Figure, JobCost, Rates, explained, job_cost, steps_needed
from simulator.planning.variant import (
    Job,
    Prediction,
    Progress,
    attempt,
    check_any_runs,
    nodes_assignment,
    silent,
)
from simulator.scenario import Scenario

_DOUBLINGS: Final = 4
"""Device counts tried on either side of the scenario's own when none are given."""


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
    """

    devices: int
    dp: int
    prediction: Prediction | None
    cost: JobCost | None
    cost_low: JobCost | None
    cost_high: JobCost | None
    reason: str = ""

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
    """

    goal: Goal
    rates: Rates
    options: tuple[Option, ...]
    smallest: int | None
    smallest_sure: int | None
    cheapest: int | None
    fastest: int | None


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
        devices: counts to try; powers of two times the scenario's own when empty.
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
    options: list[Option] = []
    for count in sorted(counts):
        progress(f"Simulating {count:,} devices")
        options.append(_option(job, scenario, count, goal, rates))
    replica = scenario.plan.num_devices // scenario.plan.dp
    check_any_runs(
        [f"{o.devices:,} devices: {o.reason}" if o.reason else "" for o in options],
        "--devices",
        f"take multiples of {replica} whose dp divides the global batch of "
        f"{scenario.training.global_batch_size:,}",
    )
    return _answer(goal, rates, options)


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
    plan, training = scenario.plan, scenario.training
    replica = plan.num_devices // plan.dp
    sequences = training.global_batch_size // training.micro_batch_size
    fewer = [plan.dp >> k for k in range(_DOUBLINGS, 0, -1) if plan.dp % (1 << k) == 0]
    more = [plan.dp << k for k in range(_DOUBLINGS + 1)]
    return tuple(dp * replica for dp in (*fewer, *more) if sequences % dp == 0)


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
