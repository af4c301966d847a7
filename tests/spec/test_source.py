"""Scenarios as written, and their variants."""

import pytest

from simulator.errors import PlanError, SpecError
from simulator.spec.load import ScenarioSource, load_scenario, scenario_source
from simulator.spec.overrides import Override


def test_a_source_gives_the_scenario_that_is_loaded() -> None:
    overrides = ["plan.tp=4", "plan.dp=2"]
    source = scenario_source("gpt3-175b-a100-64", overrides)
    assert source.scenario() == load_scenario("gpt3-175b-a100-64", overrides)


def test_variants_leave_the_source_as_it_is() -> None:
    source = scenario_source("gpt2-xl-one-gpu")
    variant = source.having(Override("plan.dp", 2), Override("training.global_batch_size", 64))
    assert (variant.scenario().plan.dp, source.scenario().plan.dp) == (2, 1)
    assert variant.having(Override("plan.dp", 4)).scenario().plan.dp == 4


def test_an_assignment_that_breaks_a_rule_is_named() -> None:
    with pytest.raises(PlanError) as caught:
        scenario_source("gpt2-xl-one-gpu").having(Override("plan.tp", 3)).scenario()
    assert caught.value.where == "--set plan.tp=3"


def test_plain_data_is_a_source_too() -> None:
    with pytest.raises(SpecError):
        ScenarioSource({"model": "gpt2-xl"}).scenario()
