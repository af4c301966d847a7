"""Values of scalars as columns of a batch equal one run per value."""

from dataclasses import replace

import numpy as np
import pytest

from simulator.calibrate.parameters import PARAMETERS
from simulator.calibrate.predict import contention, step_times_s
from simulator.engine.breakdown import period_s
from simulator.machine import SlowHosts
from simulator.simulate import run_step
from simulator.spec.fits import FITTED
from simulator.spec.load import load_scenario
from simulator.spec.stacks import StackSpec, load_stack
from simulator.step import build_step


def small(*overrides):
    settings = ("training.global_batch_size=16", "plan.virtual_stages=1", "plan.schedule=1f1b")
    return load_scenario("gpt3-175b-a100-64", [*settings, *overrides])


SCENARIOS = {
    "pipeline": lambda: small(),
    "zero bubble": lambda: small("plan.schedule=zb-h1"),
    "sharded": lambda: load_scenario("llama2-7b-fsdp"),
}


def one_by_one(scenario, name, values):
    found = []
    for value in values:
        step = build_step(replace(scenario, stack=replace(scenario.stack, **{name: value})))
        timeline, _ = run_step(step, "maxplus")
        found.append(period_s(timeline, joined=step.schedule.joins_before_optimizer))
    return found


def test_slow_hosts_are_in_the_times():
    scenario = small()
    slow = replace(scenario.cluster, slow_hosts=SlowHosts(0.125, 1.25))
    values = {"gemm_scale": np.array([1.0, 1.2])}
    plain, waiting = (
        step_times_s(one, values) for one in (scenario, replace(scenario, cluster=slow))
    )
    assert (waiting > 1.02 * plain).all()
    expected = one_by_one(replace(scenario, cluster=slow), "gemm_scale", [1.0, 1.2])
    assert waiting == pytest.approx(expected)


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("kind", SCENARIOS)
def test_a_batch_of_values_equals_one_run_each(kind: str, name: str) -> None:
    scenario = SCENARIOS[kind]()
    values = np.array([PARAMETERS[name].low, PARAMETERS[name].starts[-1]])
    batch = step_times_s(scenario, {name: values})
    # tolerance: sums in another order
    assert batch == pytest.approx(one_by_one(scenario, name, values.tolist()), rel=1e-12)


def test_no_values_is_one_point() -> None:
    assert step_times_s(small(), {}).shape == (1,)


def test_contention_is_never_below_one() -> None:
    assert contention(small()) >= 1.0


def test_parameters_are_those_that_files_may_name() -> None:
    assert set(PARAMETERS) == set(FITTED)
    keys = set(StackSpec.model_fields)
    assert {parameter.yaml_key for parameter in PARAMETERS.values()} <= keys


def test_defaults_are_those_of_the_stack_that_all_extend() -> None:
    root = load_stack("megatron-lm-2021")
    for name, parameter in PARAMETERS.items():
        if name not in ("blocking_p2p_scale", "gemm_scale"):  # these are fitted
            assert getattr(root, name) == pytest.approx(parameter.default)
        assert all(parameter.low <= start <= parameter.high for start in parameter.starts)
