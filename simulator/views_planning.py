"""Tables of ``plan``, ``tradeoff`` and ``hardware``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from simulator.planning.budget import SECONDS_PER_DAY, JobCost
from simulator.planning.capacity import CapacityPlan, Option, option_figures
from simulator.planning.hardware import Machine
from simulator.planning.tradeoff import Point
from simulator.planning.variant import Prediction
from simulator.report.breakdown import gigabytes
from simulator.report.shortage import beyond_device
from simulator.spec.ranges import amount_text, duration_text
from simulator.units import format_seconds, percent
from simulator.views import table

MARK: Final = "*"
FRONT: Final = f"{MARK} fits, and no other of that sequence length is faster with as little memory"
RANGES: Final = "In brackets: 90 % range of the step time, carried through."
OPTION_HEADERS: Final = (
    *("devices", "dp", "step", "MFU", "days", "device-hours", "dollars", "MWh", "tCO2e", ""),
)
POINT_HEADERS: Final = (
    *("seq length", "batch", "recompute", "sharding", "micro"),
    *("step", "tokens/s", "per device", "MFU", "memory", ""),
)
MACHINE_HEADERS: Final = (
    *("cluster", "devices", "step", "tokens/s per device", "MFU", "memory"),
    *("$/M tokens", "MWh/G tokens", ""),
)


def range_text(value: str, low: str | None, high: str | None) -> str:
    """A value with its 90 % range: ``51.2 (48.0-55.1)``."""
    return value if low is None or high is None else f"{value} ({low}-{high})"


def plan_view(plan: CapacityPlan) -> RenderableType:
    """The device counts, the answers, and the arithmetic of one of them."""
    parts: list[RenderableType] = [
        Text(goal_line(plan)),
        Text(),
        table([option_row(option) for option in plan.options], OPTION_HEADERS),
        Text(RANGES),
        *(Text(f"{o.devices:,} devices: {o.reason}") for o in plan.options if o.reason),
        Text(),
        *(Text(line) for line in answers(plan)),
    ]
    chosen, figures = arithmetic(plan)
    if figures:
        parts += [Text(), Text(f"How the figures of {chosen:,} devices come about")]
        parts.append(table(figures))
    return Group(*parts)


def arithmetic(plan: CapacityPlan) -> tuple[int | None, list[tuple[str, ...]]]:
    """The devices of the best answer, and rows that say how its figures come about."""
    chosen = plan.cheapest or plan.smallest or plan.fastest
    for option in plan.options:
        if option.devices == chosen:
            figures = option_figures(option, plan.goal, plan.rates)
            return chosen, [(f.name, f.value, f"= {f.formula}", f.source) for f in figures]
    return chosen, []


def goal_line(plan: CapacityPlan) -> str:
    """What is asked for, and at what price."""
    goal, rates = plan.goal, plan.rates
    words = [f"{amount_text(goal.tokens)} tokens"]
    if goal.deadline_s is not None:
        words.append(f"within {duration_text(goal.deadline_s)}")
    if goal.budget_usd is not None:
        words.append(f"for at most ${goal.budget_usd:,.0f}")
    price = rates.usd_per_device_hour
    words.append(f"goodput {rates.goodput.value:g}")
    words.append(f"${price.value:g} per device-hour" if price else "no price: give --price")
    return ", ".join(words)


def option_row(option: Option) -> list[str]:
    """One number of devices."""
    found, cost = option.prediction, option.cost
    if found is None or cost is None:
        return [f"{option.devices:,}", str(option.dp), *["-"] * 7, "cannot run"]
    low, high = option.cost_low, option.cost_high
    days = [None if c is None else f"{c.time_s / SECONDS_PER_DAY:,.1f}" for c in (cost, low, high)]
    return [
        f"{option.devices:,}",
        str(option.dp),
        format_seconds(found.step_time_s, digits=4),
        percent(found.mfu),
        range_text(days[0] or "-", days[1], days[2]),
        large(cost.device_hours),
        _dollars(cost, low, high),
        f"{cost.energy_mwh:,.0f}",
        f"{cost.carbon_t:,.0f}",
        met(option),
    ]


def met(option: Option) -> str:
    """Which limits an option meets, or that it does not fit."""
    if not option.runs:
        return "too large"
    meets = (("in time", option.in_time), ("in budget", option.in_budget))
    return ", ".join(words for words, yes in meets if yes)


def large(value: float) -> str:
    """A number in thousands or millions: ``1.15M``."""
    unit, factor = _unit(value)
    return f"{value / factor:,.3g}{unit}"


def _unit(value: float) -> tuple[str, float]:
    return next((u, f) for u, f in (("M", 1e6), ("k", 1e3), ("", 1.0)) if value >= f or f == 1)


def _dollars(cost: JobCost, low: JobCost | None, high: JobCost | None) -> str:
    """``62.4M (49.9-77.9)``: the range in the unit of the value."""
    if cost.usd is None:
        return "-"
    factor = _unit(cost.usd)[1]
    ends = (None if c is None or c.usd is None else f"{c.usd / factor:,.3g}" for c in (low, high))
    return range_text(large(cost.usd), *ends)


def answers(plan: CapacityPlan) -> list[str]:
    """Which numbers of devices are smallest, cheapest and fastest."""
    goal = plan.goal
    lines: list[str] = []
    if goal.deadline_s is not None and plan.smallest is None:
        times = [o.cost.time_s for o in plan.options if o.runs and o.cost]
        nearest = f"; {min(times) / SECONDS_PER_DAY:,.1f} days is the least" if times else ""
        lines.append(f"smallest  none of these meets the deadline{nearest}")
    elif goal.deadline_s is not None:
        sure = "none does" if plan.smallest_sure is None else f"{plan.smallest_sure:,} do"
        tried = "of those tried"
        if plan.next_fewer is not None:
            tried = f"the batch divides over none between {plan.next_fewer:,} and them"
        lines.append(
            f"smallest  {plan.smallest:,} devices meet the deadline, {tried}; at the slow end of "
            f"the range {sure}"
        )
    kind = "dollars" if plan.rates.usd_per_device_hour else "device-hours"
    limits = [w for w, v in (("in time", goal.deadline_s), ("in budget", goal.budget_usd)) if v]
    where = " and ".join(limits)
    lines.append(
        f"cheapest  none of these is {where or 'possible'}"
        if plan.cheapest is None
        else f"cheapest  {plan.cheapest:,} devices take fewest {kind}" + f" {where}".rstrip()
    )
    if plan.fastest is not None:
        within = " in budget" if goal.budget_usd is not None else ""
        lines.append(f"fastest   {plan.fastest:,} devices take least time{within}")
    return lines


def tradeoff_view(points: Sequence[Point]) -> RenderableType:
    """The grid; points on the front of speed and memory of their sequence length are marked."""
    return Group(table([point_row(point) for point in points], POINT_HEADERS), Text(FRONT))


def point_row(point: Point) -> list[str]:
    """One combination."""
    axes = [
        f"{point.seq_length:,}",
        str(point.global_batch_size),
        point.recompute,
        point.sharding,
        str(point.micro_batch_size),
    ]
    found = point.prediction
    if found is None:
        return [*axes, *["-"] * 5, point.reason]
    return [
        *axes,
        format_seconds(found.step_time_s, digits=4),
        f"{found.tokens_per_s:,.0f}",
        f"{found.tokens_per_s_per_device:,.0f}",
        percent(found.mfu),
        gigabytes(found.peak_bytes),
        _verdict(found, best=point.best),
    ]


def _verdict(found: Prediction, *, best: bool) -> str:
    if not found.fits:
        return f"too large{beyond_device(found.short_of, 'for')}"
    return MARK if best else ""


def hardware_view(machines: Sequence[Machine], pue: float, stack: str) -> RenderableType:
    """A line per machine, then where prices and powers come from."""
    powers, prices = machine_sources(machines)
    parts: list[RenderableType] = [
        table([machine_row(machine) for machine in machines], MACHINE_HEADERS),
        Text(RANGES),
        Text(f"The software is {stack} on all; the range says how well it is known there."),
        Text(),
        Text(f"Power per device, times PUE {pue:g}"),
        table(powers),
    ]
    if prices:
        parts += [Text(), Text("Price per device and hour"), table(prices)]
    return Group(*parts)


def machine_sources(machines: Sequence[Machine]) -> tuple[list[list[str]], list[list[str]]]:
    """Where powers and prices come from: rows of (cluster, value, source)."""
    powers = [[m.cluster, f"{m.power_w.value:,.0f} W", m.power_w.source] for m in machines]
    prices = [[m.cluster, f"${m.price.value:g}/h", m.price.source] for m in machines if m.price]
    return powers, prices


def machine_row(machine: Machine) -> list[str]:
    """One machine."""
    found = machine.prediction
    if found is None:
        return [machine.cluster, *["-"] * 7, machine.reason]
    usd, low, high = (
        None if value is None else f"{value:.4g}"
        for value in (
            machine.usd_per_million_tokens,
            machine.usd_per_million_tokens_low,
            machine.usd_per_million_tokens_high,
        )
    )
    return [
        machine.cluster,
        f"{found.devices:,}",
        format_seconds(found.step_time_s, digits=4),
        speed_text(found.tokens_per_s_per_device),
        percent(found.mfu),
        gigabytes(found.peak_bytes),
        range_text(usd or "-", low, high),
        f"{machine.mwh_per_billion_tokens or 0.0:.3f}",
        "" if found.fits else _too_large(found),
    ]


def _too_large(found: Prediction) -> str:
    """On a device the memory that there is; the memory needed is in the table."""
    elsewhere = beyond_device(found.short_of, "in")
    return f"does not fit{elsewhere or ' ' + gigabytes(found.capacity_bytes)}"


def speed_text(speed: float) -> str:
    """Tokens per second and device."""
    return f"{speed:,.0f}" if speed >= 100 else f"{speed:,.1f}"
