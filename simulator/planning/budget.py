"""From the time of one step to a whole job: days, device-hours, dollars, energy, carbon."""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulator.errors import SpecError
from simulator.spec.ranges import amount_text

SECONDS_PER_HOUR = 3600.0
SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class Sourced:
    """A figure of the calculation and where it comes from."""

    value: float
    source: str


@dataclass(frozen=True, slots=True)
class Rates:
    """What turns device-hours into dollars, energy and carbon.

    Attributes:
        usd_per_device_hour: None where no price is known; dollars are then not computed.
        power_w: electric power per device, with its share of the host.
        pue: power usage effectiveness, energy of the data centre / energy of its computers.
        carbon_kg_per_kwh: carbon dioxide equivalent of a kilowatt-hour.
        goodput: share of the time in which steps that count are made; the rest goes to restarts,
            repeated steps, checkpoints and evaluation.
    """

    usd_per_device_hour: Sourced | None
    power_w: Sourced
    pue: Sourced
    carbon_kg_per_kwh: Sourced
    goodput: Sourced


@dataclass(frozen=True, slots=True)
class JobCost:
    """What a whole job takes.

    Attributes:
        steps: optimizer steps.
        time_s: from first to last step.
        device_hours: devices * hours.
        usd: None without a price.
        energy_mwh: at the data centre's meter.
        carbon_t: tonnes of carbon dioxide equivalent.
    """

    steps: int
    time_s: float
    device_hours: float
    usd: float | None
    energy_mwh: float
    carbon_t: float


@dataclass(frozen=True, slots=True)
class Figure:
    """A result with the arithmetic that gives it and the sources of its operands."""

    name: str
    value: str
    formula: str
    source: str


def steps_needed(tokens: float, tokens_per_step: int) -> int:
    """Steps to train on ``tokens``: ceil(tokens / tokens_per_step)."""
    return math.ceil(tokens / tokens_per_step)


def job_cost(steps: int, step_s: float, devices: int, rates: Rates) -> JobCost:
    """The whole job: time, device-hours, dollars, energy and carbon from the time of one step.

    time = steps * step / goodput; device-hours = devices * time / 3600 s; dollars = device-hours *
    price; energy = device-hours * power * PUE; carbon = energy * intensity (kg/kWh = t/MWh).

    Source: Touvron et al. 2023 (arXiv 2302.13971, section 6) for energy and carbon.

    Assumes: devices draw ``power_w`` whatever they do, also in time lost to goodput.

    Raises:
        SpecError: if the goodput is not above 0 and at most 1, the PUE is below 1 or the carbon
            intensity negative.
    """
    if not 0 < rates.goodput.value <= 1:
        raise SpecError(
            f"goodput {rates.goodput.value:g} is not above 0 and at most 1", where="--goodput"
        )
    check_pue(rates.pue.value)
    if rates.carbon_kg_per_kwh.value < 0:
        raise SpecError("the carbon intensity is negative", where="--carbon")
    time_s = steps * step_s / rates.goodput.value
    device_hours = devices * time_s / SECONDS_PER_HOUR
    price = rates.usd_per_device_hour
    energy_mwh = device_hours * rates.power_w.value * rates.pue.value / 1e6
    return JobCost(
        steps=steps,
        time_s=time_s,
        device_hours=device_hours,
        usd=None if price is None else device_hours * price.value,
        energy_mwh=energy_mwh,
        carbon_t=energy_mwh * rates.carbon_kg_per_kwh.value,
    )


def check_pue(pue: float) -> None:
    """Raises a ``SpecError`` for a power usage effectiveness below 1."""
    if pue < 1:
        raise SpecError(
            f"PUE {pue:g} is below 1",
            where="--pue",
            hint="it is the energy of the data centre over that of its computers",
        )


def usd_per_million_tokens(usd_per_device_hour: float, tokens_per_s_per_device: float) -> float:
    """Price of a million tokens: price / 3600 s / (tokens/s per device) * 10^6."""
    return usd_per_device_hour / SECONDS_PER_HOUR / tokens_per_s_per_device * 1e6


def mwh_per_billion_tokens(power_w: float, pue: float, tokens_per_s_per_device: float) -> float:
    """Energy of a billion tokens: power * PUE / (tokens/s per device) * 10^9 / 3.6e9 J/MWh."""
    return power_w * pue / tokens_per_s_per_device * 1e9 / 3.6e9


def explained(
    job: JobCost,
    rates: Rates,
    *,
    devices: int,
    step_s: float,
    tokens: float,
    tokens_per_step: int,
) -> tuple[Figure, ...]:
    """Every figure of a job with its formula, its numbers put in, and its sources.

    Args:
        job: what ``job_cost`` gave.
        rates: as given to ``job_cost``.
        devices: devices of the job.
        step_s: time of a step.
        tokens: of the whole job.
        tokens_per_step: of one step.
    """
    return (
        Figure(
            "steps",
            f"{job.steps:,}",
            f"{amount_text(tokens)} tokens / {tokens_per_step:,} per step",
            "",
        ),
        Figure(
            "days",
            f"{job.time_s / SECONDS_PER_DAY:,.1f}",
            f"{job.steps:,} steps x {step_s:.4g} s / goodput {rates.goodput.value:g} / 86,400 s",
            f"step time: simulated; goodput: {rates.goodput.source}",
        ),
        Figure(
            "device-hours",
            f"{job.device_hours:,.0f}",
            f"{devices:,} devices x {job.time_s / SECONDS_PER_HOUR:,.1f} h",
            "",
        ),
        *_spent(job, rates),
    )


def _spent(job: JobCost, rates: Rates) -> list[Figure]:
    """What follows from device-hours: dollars, if there is a price, energy and carbon."""
    hours, power, pue = job.device_hours, rates.power_w, rates.pue
    figures: list[Figure] = []
    price = rates.usd_per_device_hour
    if price is not None and job.usd is not None:
        formula = f"{hours:,.0f} device-hours x ${price.value:g}"
        figures.append(Figure("dollars", f"{job.usd:,.0f}", formula, f"price: {price.source}"))
    return [
        *figures,
        Figure(
            "MWh",
            f"{job.energy_mwh:,.1f}",
            f"{hours:,.0f} device-hours x {power.value:,.0f} W x PUE {pue.value:g}",
            f"power: {power.source}; PUE: {pue.source}",
        ),
        Figure(
            "tCO2e",
            f"{job.carbon_t:,.1f}",
            f"{job.energy_mwh:,.1f} MWh x {rates.carbon_kg_per_kwh.value:g} kg/kWh",
            f"intensity: {rates.carbon_kg_per_kwh.source}",
        ),
    ]
