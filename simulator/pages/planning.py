"""Pages of ``plan``, ``tradeoff`` and ``hardware``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from simulator.planning.budget import SECONDS_PER_DAY, JobCost
from simulator.planning.capacity import CapacityPlan, Option
from simulator.planning.hardware import Machine
from simulator.planning.tradeoff import Point
from simulator.planning.variant import Prediction
from simulator.report.bars import Bar, Part, bar_chart
from simulator.report.breakdown import gigabytes
from simulator.report.drawing import Section, drawing_page
from simulator.report.frame import plain_table
from simulator.report.scatter import Axis, Mark, scatter
from simulator.views_planning import (
    FRONT,
    MACHINE_HEADERS,
    OPTION_HEADERS,
    POINT_HEADERS,
    RANGES,
    answers,
    arithmetic,
    goal_line,
    large,
    machine_row,
    machine_sources,
    option_row,
    point_row,
    range_text,
    speed_text,
)

_RANGED: Final = "Thin lines: 90 % range of the step time, carried through."
_LOG: Final = 10.0
"""Range of days above which equal distances are equal factors."""
_PLAN_COLOURS: Final = (
    ("gain", "smallest, cheapest or fastest"),
    ("total", "another"),
    ("loss", "too large"),
)
_POINT_COLOURS: Final = (("gain", "best at its memory"), ("total", "fits"), ("loss", "too large"))
_Quantity: TypeAlias = Callable[[Option, JobCost], float | None]


def plan_page(name: str, plan: CapacityPlan) -> str:
    """Days, dollars and devices against one another, and the options as a table."""
    chosen, figures = arithmetic(plan)
    reasons = [f"{o.devices:,} devices: {o.reason}" for o in plan.options if o.reason]
    rows = [option_row(option) for option in plan.options]
    sections = [
        *_plan_drawings(plan),
        Section(
            "Options",
            "\n".join([*answers(plan), *reasons, RANGES]),
            "",
            plain_table(OPTION_HEADERS, rows),
        ),
    ]
    if figures:
        title = f"How the figures of {chosen:,} devices come about"
        sections.append(Section(title, "", "", plain_table(("", "", "", "source"), figures)))
    return drawing_page(f"Capacity plan of {name}", sections, note=goal_line(plan))


def _plan_drawings(plan: CapacityPlan) -> list[Section]:
    deadline_s, budget_usd = plan.goal.deadline_s, plan.goal.budget_usd
    limit_days = None if deadline_s is None else deadline_s / SECONDS_PER_DAY
    devices = Axis("devices", "{:,.0f}".format, by_factor=True)
    took = [_days(o, o.cost) for o in plan.options if o.cost]
    wide = max(took, default=1.0) > _LOG * min(took, default=1.0)
    days = Axis("days", large, limit_days, by_factor=wide)
    usd = Axis("dollars", large, budget_usd)
    drawn = [
        ("Days over devices", _marks(plan, _devices, _days), devices, days),
        ("Dollars over devices", _marks(plan, _devices, _usd), devices, usd),
        ("Dollars over days", _marks(plan, _days, _usd), days, usd),
    ]
    return [
        Section(
            title,
            _plan_note(across, up),
            scatter(marks, across, up, meanings=_meanings(marks, _PLAN_COLOURS)),
        )
        for title, marks, across, up in drawn
        if marks
    ]


def _plan_note(across: Axis, up: Axis) -> str:
    limited = across.limit is not None or up.limit is not None
    words = [_RANGED, "Dashed: what is allowed." if limited else ""]
    words.append(f"{up.name.capitalize()} by factors." if up.by_factor else "")
    return " ".join(word for word in words if word)


def _marks(plan: CapacityPlan, across: _Quantity, up: _Quantity) -> list[Mark]:
    marks: list[Mark] = []
    for option in plan.options:
        if option.cost is None:
            continue
        place, value = across(option, option.cost), up(option, option.cost)
        if place is None or value is None:
            continue
        best = option.devices in (plan.cheapest, plan.smallest, plan.fastest)
        css = "loss" if not option.runs else "gain" if best else "total"
        ends = [None if c is None else up(option, c) for c in (option.cost_low, option.cost_high)]
        marks.append(Mark(place, value, f"{option.devices:,}", css, *ends))
    return marks


def _devices(option: Option, cost: JobCost) -> float:
    return float(option.devices)


def _days(option: Option, cost: JobCost) -> float:
    return cost.time_s / SECONDS_PER_DAY


def _usd(option: Option, cost: JobCost) -> float | None:
    return cost.usd


def _meanings(marks: Sequence[Mark], colours: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The colours that are used."""
    used = {mark.css for mark in marks}
    return [(css, words) for css, words in colours if css in used]


def tradeoff_page(name: str, points: Sequence[Point]) -> str:
    """Tokens per second over memory, a drawing per sequence length, and all as a table."""
    drawn = [_front(points, length) for length in dict.fromkeys(p.seq_length for p in points)]
    table = plain_table(POINT_HEADERS, [point_row(point) for point in points])
    sections = [one for one in drawn if one is not None]
    return drawing_page(f"Trade-offs of {name}", [*sections, Section("All", FRONT, "", table)])


def _front(points: Sequence[Point], length: int) -> Section | None:
    found = [(p, p.prediction) for p in points if p.seq_length == length and p.prediction]
    if not found:
        return None
    # The labels of the best find their places first.
    found.sort(key=lambda pair: not pair[0].best)
    marks = [
        Mark(
            of.peak_bytes,
            of.tokens_per_s,
            f"{p.recompute}, {p.sharding}, {p.micro_batch_size}",
            "gain" if p.best else "total" if of.fits else "loss",
        )
        for p, of in found
    ]
    return Section(
        f"Sequences of {length:,}: tokens/s over memory",
        "Labels: recompute, sharding, microbatch. Dashed: memory of a device. Axes do not "
        "begin at 0.",
        scatter(
            marks,
            Axis("memory", gigabytes, found[0][1].capacity_bytes, from_zero=False),
            Axis("tokens/s", large, from_zero=False),
            meanings=_meanings(marks, _POINT_COLOURS),
        ),
    )


def hardware_page(name: str, machines: Sequence[Machine], pue: float) -> str:
    """Dollars, energy and speed of every machine as bars, and where the figures come from."""
    found = [(machine, machine.prediction) for machine in machines if machine.prediction]
    powers, prices = machine_sources(machines)
    rows = [machine_row(machine) for machine in machines]
    headers = ("cluster", "value", "source")
    sections = [
        Section(
            "Dollars per million tokens",
            _RANGED,
            bar_chart([_usd_bar(m) for m, _ in found if m.price], "Dollars per million tokens"),
        ),
        Section(
            "Tokens per second and device",
            _RANGED,
            bar_chart([_speed_bar(m, p) for m, p in found], "Tokens per second and device"),
        ),
        Section(
            "MWh per billion tokens",
            "",
            bar_chart([_energy_bar(m) for m, _ in found], "MWh per billion tokens"),
        ),
        Section("Machines", RANGES, "", plain_table(MACHINE_HEADERS, rows)),
        Section(f"Power per device, times PUE {pue:g}", "", "", plain_table(headers, powers)),
        Section("Price per device and hour", "", "", plain_table(headers, prices)),
    ]
    return drawing_page(f"{name} on other machines", [s for s in sections if s.svg or s.table])


def _usd_bar(machine: Machine) -> Bar:
    usd = machine.usd_per_million_tokens or 0.0
    low, high = machine.usd_per_million_tokens_low, machine.usd_per_million_tokens_high
    ends = [None if end is None else f"{end:.4g}" for end in (low, high)]
    words = range_text(f"${usd:.4g}", *ends)
    return Bar(machine.cluster, [Part(usd, _css(machine))], words, low, high)


def _speed_bar(machine: Machine, found: Prediction) -> Bar:
    """The fastest step is the most tokens: the ends of the range change places."""
    speed, steps = found.tokens_per_s_per_device, (found.step_time_high_s, found.step_time_low_s)
    ends = [None if end is None else speed * found.step_time_s / end for end in steps]
    words = range_text(
        speed_text(speed), *(None if end is None else speed_text(end) for end in ends)
    )
    return Bar(machine.cluster, [Part(speed, _css(machine))], words, *ends)


def _energy_bar(machine: Machine) -> Bar:
    energy = machine.mwh_per_billion_tokens or 0.0
    return Bar(machine.cluster, [Part(energy, _css(machine))], f"{energy:.3g} MWh")


def _css(machine: Machine) -> str:
    """What does not fit in memory is red."""
    return "total" if machine.prediction and machine.prediction.fits else "loss"
