"""Reports with chosen numbers, for tests that work by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from simulator.report.report import MemoryReport, RankMemory, Report
from simulator.simulate import simulate
from simulator.spec.load import ScenarioSource, load_scenario, scenario_source


@cache
def _any_report() -> Report:
    return simulate(load_scenario("gpt2-xl-one-gpu"))


def report(
    devices: int = 1,
    tokens: float = 1000.0,
    memory: dict[str, float] | None = None,
    capacity_bytes: float = 100.0,
    **time: float,
) -> Report:
    """A report of these terms; step time and peak are their sums."""
    step_time_s = sum(time.values())
    terms = memory or {"weights": 10.0}
    peak = sum(terms.values())
    rank = RankMemory("pipeline rank 0", devices, peak, 0.0, 0.0, terms)
    held = MemoryReport(
        peak <= capacity_bytes, capacity_bytes, peak, rank.rank_class, (rank,), None
    )
    return replace(
        _any_report(),
        step_time_s=step_time_s,
        tokens_per_s=tokens / step_time_s,
        tokens_per_s_per_device=tokens / step_time_s / devices,
        time=time,
        devices=devices,
        memory=held,
    )


def small(*overrides: str) -> ScenarioSource:
    """GPT-2 XL on 4 devices of one node: 4 replicas with 8 sequences each, in 2 microbatches."""
    return scenario_source("gpt2-xl-one-gpu", ["plan.dp=4", *overrides])
