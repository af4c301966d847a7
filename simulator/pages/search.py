"""The page of ``search``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from simulator.report.bars import Bar, bar_chart, time_meanings, time_parts
from simulator.report.breakdown import gigabytes, seconds
from simulator.report.drawing import Section, drawing_page
from simulator.report.frame import plain_table
from simulator.report.report import Report
from simulator.report.scatter import Axis, Mark, scatter
from simulator.scenario import Scenario
from simulator.search.explain import Explanation
from simulator.search.optimum import Found, SearchResult
from simulator.views_search import (
    INFEASIBLE_HEADERS,
    count_lines,
    infeasible_rows,
    plan_table,
    reason_table,
    schedule_name,
    set_options,
)

_COLOURS: Final = (
    *("time-compute", "time-optimizer", "time-pp-comm", "time-tp-comm", "time-dp-comm"),
    *("time-recompute", "time-cp-comm", "time-bubble"),
)
"""A colour per number of devices; more share the last one."""
_BARS: Final = "Step time of the proven best plans, cut into the terms of the critical rank."
_FRONT: Final = (
    "Plans that no other one beats in time, memory and devices. Labels: row of the table, tp, pp, "
    "dp. Dashed: memory of a device. Axes do not begin at 0. Where links are shared, times that "
    "were not simulated are lower bounds."
)


def search_page(
    base: Scenario,
    result: SearchResult,
    reports: Sequence[Report],
    reasons: Explanation | None = None,
    *,
    infeasible: bool = False,
) -> str:
    """The front drawn, the best plans cut into the terms of their step, and both as tables.

    Args:
        base: that was searched from.
        result: of the search.
        reports: of the best plans, in order.
        reasons: why the best one beats the runner-up.
        infeasible: say why plans cannot run.
    """
    sections = [
        Section("Best plans", _BARS, _best_chart(result.best, reports), _table(result.best)),
        Section("Front of time, memory and devices", _FRONT, _front_chart(base, result)),
        Section("Plans of the front", "", "", _table(result.front)),
    ]
    if reasons is not None:
        table = plain_table(*reason_table(reasons))
        sections.append(Section("Why the best one beats the runner-up", "", "", table))
    if infeasible:
        table = plain_table(INFEASIBLE_HEADERS, infeasible_rows(result))
        sections.append(Section("Plans that cannot run", "", "", table))
    sections.append(Section("To run the best one, add", set_options(base, result), ""))
    title = f"{base.name}: best plans for {result.goal.objective}"
    return drawing_page(title, sections, note="; ".join(count_lines(base, result)[1:]))


def _best_chart(best: Sequence[Found], reports: Sequence[Report]) -> str:
    """A bar per plan."""
    bars = [
        Bar(
            f"{place}: {_name(found)}",
            time_parts(report.time, f"plan {place}", seconds),
            seconds(found.step_time_s),
        )
        for place, (found, report) in enumerate(zip(best, reports, strict=True), 1)
    ]
    meanings = time_meanings([report.time for report in reports])
    return bar_chart(bars, "Step time of the best plans", meanings=meanings)


def _name(found: Found) -> str:
    value = found.settings
    degrees = f"tp {value['plan.tp']} pp {value['plan.pp']} dp {value['plan.dp']}"
    return f"{degrees}, {schedule_name(found)}, {value['plan.sharding']}"


def _front_chart(base: Scenario, result: SearchResult) -> str:
    """Step time over memory, a colour per number of devices."""
    counts = sorted({found.devices for found in result.front})
    colour = {n: _COLOURS[min(i, len(_COLOURS) - 1)] for i, n in enumerate(counts)}
    marks = [
        Mark(
            found.peak_bytes,
            found.step_time_s,
            _degrees(place, found),
            colour[found.devices],
        )
        for place, found in enumerate(result.front, 1)
    ]
    capacity = base.cluster.node.accelerator.memory_bytes
    return scatter(
        marks,
        Axis("memory of the worst rank", gigabytes, capacity, from_zero=False),
        Axis("step time", seconds, from_zero=False),
        meanings=[(colour[n], f"{n:,} devices") for n in counts],
    )


def _degrees(place: int, found: Found) -> str:
    value = found.settings
    return f"{place}: {value['plan.tp']} {value['plan.pp']} {value['plan.dp']}"


def _table(plans: Sequence[Found]) -> str:
    return plain_table(*plan_table(plans))
