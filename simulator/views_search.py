"""What ``search`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from rich.console import Group, RenderableType
from rich.text import Text

from simulator.report.breakdown import gigabytes
from simulator.scenario import Scenario
from simulator.search.explain import Explanation
from simulator.search.optimum import Found, SearchResult
from simulator.views import table

_MAX_FRONT: Final = 10
INFEASIBLE_HEADERS: Final = ("", "reason", "for example")
_ROUNDING: Final = 1e-9
_RECOMPUTE: Final = "training.recompute"
_OPTIONAL: Final = ("layers_per_stage", "shard_group_size")
_HEADERS: Final = (
    "",
    "devices",
    "tp pp dp",
    "schedule",
    "micro",
    "sharding",
    "recompute",
    "beside compute",
    "step",
    "tokens/s",
    "memory",
)


def search_view(
    base: Scenario,
    result: SearchResult,
    reasons: Explanation | None = None,
    *,
    infeasible: bool = False,
) -> RenderableType:
    """Counts, the best plans, the front of time, memory and devices."""
    parts: list[RenderableType] = [
        *map(Text, count_lines(base, result)),
        Text(),
        _plans(result.best),
    ]
    front = result.front[:_MAX_FRONT]
    more = len(result.front) - len(front)
    title = "\nFront of time, memory and devices" + (f" ({more} more in --json)" if more else "")
    parts += [Text(title), _plans(front)]
    if reasons is not None:
        headers, rows = reason_table(reasons)
        parts += [Text("\nWhy the best one beats the runner-up"), table(rows, headers)]
    if infeasible:
        shown = table(infeasible_rows(result), INFEASIBLE_HEADERS)
        parts += [Text("\nPlans that cannot run"), shown]
    parts.append(Text(f"\nTo run the best one, add:\n{set_options(base, result)}"))
    return Group(*parts)


def count_lines(base: Scenario, result: SearchResult) -> list[str]:
    """What was sought, and where the combinations went."""
    counts = result.counts
    return [
        f"{base.name}: best plans for {result.goal.objective}, proven",
        f"{counts.enumerated:,} plans evaluated; {counts.by_memory:,} do not fit, "
        f"{counts.by_bound:,} left out by their bound, {counts.verified:,} verified",
        f"{counts.by_rule:,} combinations break a rule; {counts.same:,} combinations are the same "
        "plan as another",
    ]


def infeasible_rows(result: SearchResult) -> list[tuple[str, ...]]:
    """Why plans cannot run, with counts."""
    return [(f"{one.count:,}", one.reason, one.example) for one in result.infeasible]


def set_options(base: Scenario, result: SearchResult) -> str:
    """The options that make the scenario the best plan."""
    # A value of the scenario that the plan does not have must be taken back.
    given = {f"plan.{key}" for key in _OPTIONAL if getattr(base.plan, key) is not None}
    return " ".join(
        f"--set '{key}={'null' if value is None else _set_value(value)}'"
        for key, value in result.best[0].settings.items()
        if value is not None or key in given
    )


def search_records(result: SearchResult) -> list[dict[str, object]]:
    """A record per plan for tables: the best in order, then the front."""
    lists = {"best": result.best, "front": result.front}
    return [
        {"list": name, "place": place, **_record(found)}
        for name, plans in lists.items()
        for place, found in enumerate(plans, 1)
    ]


def _record(found: Found) -> dict[str, object]:
    record: dict[str, object] = {
        "devices": found.devices,
        "step_time_s": found.step_time_s,
        "tokens_per_s": found.tokens_per_s,
        "peak_bytes": found.peak_bytes,
        "cost_per_token": found.cost_per_token,
        "verified": found.verified,
        **found.settings,
    }
    if not isinstance(record[_RECOMPUTE], Mapping):
        record[_RECOMPUTE] = {"mode": record[_RECOMPUTE], "num_layers": None}
    return record


def _plans(plans: Sequence[Found]) -> RenderableType:
    headers, rows = plan_table(plans)
    return table(rows, headers)


def plan_table(plans: Sequence[Found]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headers and a row per plan."""
    rows = [_row(place, found) for place, found in enumerate(plans, 1)]
    if not plans or plans[0].cost_per_token is None:
        return _HEADERS, rows
    costs = [(found.cost_per_token or 0.0) * 1e6 for found in plans]
    priced = [(*row, f"{cost:.4g}") for row, cost in zip(rows, costs, strict=True)]
    return (*_HEADERS, "cost of 1M tokens"), priced


def _row(place: int, found: Found) -> tuple[str, ...]:
    value = found.settings
    overlap = cast("Mapping[str, bool]", value["plan.overlap"])
    uneven = " uneven" if value["plan.layers_per_stage"] else ""
    recompute = value[_RECOMPUTE]
    if isinstance(recompute, Mapping):
        data = cast("Mapping[str, object]", recompute)
        recompute = f"{data['mode']} {data['num_layers']}"
    sequence = " sp" if value["plan.sequence_parallel"] else ""
    return (
        str(place),
        str(found.devices),
        f"{value['plan.tp']}{sequence} {value['plan.pp']} {value['plan.dp']}",
        schedule_name(found) + uneven,
        str(value["training.micro_batch_size"]),
        str(value["plan.sharding"]),
        str(recompute),
        " ".join(axis for axis, on in overlap.items() if on) or "-",
        f"{'' if found.verified else '>= '}{found.step_time_s:.4g} s",
        f"{found.tokens_per_s:,.0f}",
        gigabytes(found.peak_bytes),
    )


def schedule_name(found: Found) -> str:
    """The schedule, with its chunks per rank where they are several."""
    chunks = found.settings["plan.virtual_stages"]
    return f"{found.settings['plan.schedule']}" + (f" x{chunks}" if chunks != 1 else "")


def reason_table(reasons: Explanation) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headers, and a row per setting and term of the step in which the two best plans differ."""
    changed = [
        (key, _set_value(values[0]), _set_value(values[1]), "")
        for key, values in reasons.changed.items()
    ]
    unit = reasons.unit
    terms = [
        (term, f"{own:.4g} {unit}", f"{other:.4g} {unit}", _difference(own, other, unit))
        for term, (own, other) in sorted(
            reasons.terms_s.items(), key=lambda item: item[1][0] - item[1][1]
        )
    ]
    headers = ("", "best", f"number {reasons.runner_up + 1}", "difference")
    return headers, [*changed, *terms]


def _difference(own: float, other: float, unit: str) -> str:
    """How much more; a dash where only rounding differs."""
    return "-" if abs(own - other) <= _ROUNDING * other else f"{own - other:+.3g} {unit}"


def _set_value(value: object) -> str:
    """A value as ``--set`` takes it."""
    match value:
        case bool():
            return str(value).lower()
        case None:
            return "-"
        case Mapping():
            data = cast("Mapping[str, object]", value)
            return "{" + ", ".join(f"{key}: {_set_value(one)}" for key, one in data.items()) + "}"
        case list():
            return "[" + ", ".join(map(str, cast("list[object]", value))) + "]"
        case _:
            return str(value)
