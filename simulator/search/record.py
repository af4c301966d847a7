"""A search's result as JSON data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from simulator.scenario import Scenario
from simulator.search.explain import Explanation
from simulator.search.optimum import Found, SearchResult


def search_record(
    base: Scenario,
    result: SearchResult,
    reasons: Explanation | None = None,
    *,
    infeasible: bool = False,
) -> dict[str, object]:
    """Plain data: counts, the best plans, the front, and what else was asked for."""
    record: dict[str, object] = {
        "scenario": base.name,
        "goal": asdict(result.goal),
        "counts": asdict(result.counts),
        "best": [_plan(found) for found in result.best],
        "front": [_plan(found) for found in result.front],
    }
    if reasons is not None:
        record["explanation"] = asdict(reasons)
    if infeasible:
        record["infeasible"] = [asdict(reason) for reason in result.infeasible]
    return record


def _plan(found: Found) -> Mapping[str, object]:
    return {key: value for key, value in asdict(found).items() if key != "row"}
