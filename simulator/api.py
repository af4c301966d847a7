"""The library in a handful of names: load a scenario, simulate it, read the report.

from simulator.api import load_scenario, simulate

report = simulate(load_scenario("gpt3-175b-a100-64", ["plan.tp=4", "plan.dp=2"]))
print(report.step_time_s, report.mfu)
"""

from __future__ import annotations

from simulator.errors import PlanError, ScheduleError, SpecError, TrainsimError, UnknownNameError
from simulator.report.record import from_json, to_json
from simulator.report.report import Report
from simulator.report.text import to_text
from simulator.scenario import Scenario
from simulator.simulate import simulate
from simulator.spec.load import (
    list_scenarios,
    load_scenario,
    parse_scenario,
    scenario_source,
)
from simulator.whatif.axes import parse_axis
from simulator.whatif.comparing import Comparison, compare
from simulator.whatif.scaling import Curve, scale
from simulator.whatif.sensitivity import Sensitivity, sensitivity

__all__ = [
    "Comparison",
    "Curve",
    "PlanError",
    "Report",
    "Scenario",
    "ScheduleError",
    "Sensitivity",
    "SpecError",
    "TrainsimError",
    "UnknownNameError",
    "compare",
    "from_json",
    "list_scenarios",
    "load_scenario",
    "parse_axis",
    "parse_scenario",
    "scale",
    "scenario_source",
    "sensitivity",
    "simulate",
    "to_json",
    "to_text",
]
