"""Step times of one scenario under many values of its stack's scalars, from one lowered graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from simulator.engine.breakdown import period_s
from simulator.engine.maxplus import makespan_s
from simulator.engine.run import Engine
from simulator.numeric import FloatArray
from simulator.scenario import Scenario
from simulator.simulate import run_step
from simulator.step import Step, build_step


def step_times_s(scenario: Scenario, values: Mapping[str, FloatArray]) -> FloatArray:
    """Seconds of one step at every point.

    The scalars go through the cost functions as columns of a batch, so that all points share one
    graph. Schedules without a barrier, whose period is no makespan, are run point by point.

    Args:
        scenario: checked.
        values: scalar of ``Stack`` -> [points].

    Returns:
        [points], on the max-plus engine.

    Raises:
        PlanError, ScheduleError: if the scenario cannot be run.
    """
    (num_points,) = np.broadcast_shapes(*(column.shape for column in values.values()), (1,))
    step = build_step(_with(scenario, values))
    if step.side_by_side and step.schedule.joins_before_optimizer and step.uniform:
        seconds = step.table.seconds
        return makespan_s(step.graph, np.broadcast_to(seconds, (num_points, seconds.shape[-1])))
    points = range(num_points)
    return np.array([_one_s(scenario, {k: float(v[i]) for k, v in values.items()}) for i in points])


def contention(scenario: Scenario) -> float:
    """Step time of the simulator over that of the max-plus engine, which shares no links."""
    step = build_step(scenario)
    if not step.graph.has_shared_resources:
        return 1.0
    return _period_s(step, "auto") / _period_s(step, "maxplus")


def _with(scenario: Scenario, values: Mapping[str, FloatArray] | Mapping[str, float]) -> Scenario:
    return replace(scenario, stack=replace(scenario.stack, **values))


def _one_s(scenario: Scenario, values: Mapping[str, float]) -> float:
    return _period_s(build_step(_with(scenario, values)), "maxplus")


def _period_s(step: Step, engine: Engine) -> float:
    timeline, _ = run_step(step, engine)
    return period_s(timeline, joined=step.schedule.joins_before_optimizer)
