"""Several scenarios, each simulated once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from simulator.progress import Progress, followed, silent
from simulator.report.report import Report
from simulator.scenario import Scenario
from simulator.simulate import simulate


def simulate_each(scenarios: Sequence[Scenario], progress: Progress = silent) -> list[Report]:
    """The report of every scenario, in order; those that are the same job share one.

    Memory levers are not searched for, as they take several simulations.

    Raises:
        TrainsimError: if a scenario breaks a rule.
    """
    jobs: list[Scenario] = []
    distinct: list[Scenario] = []
    which: list[int] = []
    for scenario in scenarios:
        job = _job(scenario)
        if job not in jobs:
            jobs.append(job)
            distinct.append(scenario)
        which.append(jobs.index(job))
    reports = [
        simulate(scenario, levers=False) for scenario in followed(distinct, "Simulating", progress)
    ]
    return [reports[index] for index in which]


def _job(scenario: Scenario) -> Scenario:
    """The scenario without what does not change its prediction."""
    return replace(scenario, name="", normalised={}, assumptions=(), auto_fit=None)
