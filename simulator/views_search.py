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
    counts = result.counts
    parts: list[RenderableType] = [
        Text(
            f"{base.name}: best plans for {result.goal.objective}, proven\n"
            f"{counts.enumerated:,} plans evaluated; {counts.by_memory:,} do not fit, "
            f"{counts.by_bound:,} left out by their bound, {counts.verified:,} verified"
            f" ({counts.by_rule:,} combinations break a rule)\n"
        ),
        _plans(result.best),
    ]
    front = result.front[:_MAX_FRONT]
    more = len(result.front) - len(front)
    title = "\nFront of time, memory and devices" + (f" ({more} more in --json)" if more else "")
    parts += [Text(title), _plans(front)]
    if reasons is not None:
        parts += [Text("\nWhy the best one beats the runner-up"), _reasons(reasons)]
    if infeasible:
        rows = [(f"{one.count:,}", one.reason, one.example) for one in result.infeasible]
        parts += [Text("\nPlans that cannot run"), table(rows, ("", "reason", "for example"))]
    best = result.best[0].settings
    # A value of the scenario that the plan does not have must be taken back.
    given = {f"plan.{key}" for key in _OPTIONAL if getattr(base.plan, key) is not None}
    sets = " ".join(
        f"--set '{key}={'null' if value is None else _set_value(value)}'"
        for key, value in best.items()
        if value is not None or key in given
    )
    parts.append(Text(f"\nTo run the best one, add:\n{sets}"))
    return Group(*parts)


def _plans(plans: Sequence[Found]) -> RenderableType:
    headers = _HEADERS
    rows = [_row(place, found) for place, found in enumerate(plans, 1)]
    if plans and plans[0].cost_per_token is not None:
        headers = (*headers, "cost of 1M tokens")
        costs = [(found.cost_per_token or 0.0) * 1e6 for found in plans]
        rows = [(*row, f"{cost:.4g}") for row, cost in zip(rows, costs, strict=True)]
    return table(rows, headers)


def _row(place: int, found: Found) -> tuple[str, ...]:
    value = found.settings
    overlap = cast("Mapping[str, bool]", value["plan.overlap"])
    chunks = value["plan.virtual_stages"]
    schedule = f"{value['plan.schedule']}" + (f" x{chunks}" if chunks != 1 else "")
    uneven = " uneven" if value["plan.layers_per_stage"] else ""
    recompute = value["training.recompute"]
    if isinstance(recompute, Mapping):
        data = cast("Mapping[str, object]", recompute)
        recompute = f"{data['mode']} {data['num_layers']}"
    sequence = " sp" if value["plan.sequence_parallel"] else ""
    return (
        str(place),
        str(found.devices),
        f"{value['plan.tp']}{sequence} {value['plan.pp']} {value['plan.dp']}",
        schedule + uneven,
        str(value["training.micro_batch_size"]),
        str(value["plan.sharding"]),
        str(recompute),
        " ".join(axis for axis, on in overlap.items() if on) or "-",
        f"{'' if found.verified else '>= '}{found.step_time_s:.4g} s",
        f"{found.tokens_per_s:,.0f}",
        gigabytes(found.peak_bytes),
    )


def _reasons(reasons: Explanation) -> RenderableType:
    changed = [
        (key, _set_value(values[0]), _set_value(values[1]), "")
        for key, values in reasons.changed.items()
    ]
    terms = [
        (term, f"{own:.4g} s", f"{other:.4g} s", f"{own - other:+.3g} s")
        for term, (own, other) in sorted(
            reasons.terms_s.items(), key=lambda item: item[1][0] - item[1][1]
        )
    ]
    headers = ("", "best", f"number {reasons.runner_up + 1}", "difference")
    return table([*changed, *terms], headers)


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
