from __future__ import annotations

from dataclasses import replace

from hypothesis import given

from simulator.levers import LEVERS, applicable
from simulator.scenario import Scenario, check
from simulator.spec.load import load_scenario
from tests.strategies import scenarios
from tests.test_simulate import scenario_of


@given(scenarios(max_ranks=16))
def test_what_a_lever_gives_is_another_valid_scenario(scenario: Scenario) -> None:
    for name, other in applicable(scenario).items():
        assert name in LEVERS
        check(other)
        assert other != scenario
        assert other.plan.num_devices <= scenario.plan.num_devices


def test_every_lever_applies_to_a_plan_that_uses_none() -> None:
    plain = scenario_of(
        {"tp": 2, "dp": 4}, training={"micro_batch_size": 2}, stack={"attention": "unfused"}
    )
    grouped = scenario_of(
        {"pp": 2, "dp": 4, "sharding": "zero3", "shard_group_size": 2, "schedule": "gpipe"},
        training={"global_batch_size": 8},
    )
    alone = load_scenario("mixtral-8x7b-64", ["plan.ep=1"])
    used = {*applicable(plain), *applicable(grouped), *applicable(alone)}
    assert used == set(LEVERS)
    assert "plan.shard_group_size: all replicas" in applicable(grouped)
    assert "plan.schedule: 1f1b" in applicable(grouped)


def test_levers_that_are_pulled_already_are_left_out() -> None:
    scenario = scenario_of(
        {"tp": 2, "dp": 4, "sequence_parallel": True, "sharding": "zero3"},
        training={"recompute": "full"},
    )
    names = applicable(scenario).keys()
    assert "plan.sequence_parallel: true" not in names
    assert "plan.sharding: zero3" not in names
    assert "training.recompute: full" not in names
    assert "half the training.micro_batch_size" not in names


def test_levers_that_break_a_rule_are_left_out() -> None:
    # 16 heads over 16 ranks: not over 32. One replica: no half of it.
    one_replica = scenario_of({"tp": 16, "dp": 1}, cluster={"nodes": 2})
    assert "twice the plan.tp, half the plan.dp" not in applicable(one_replica)
    odd = scenario_of({"tp": 16, "dp": 2}, cluster={"nodes": 4})
    assert "twice the plan.tp, half the plan.dp" not in applicable(odd)


def test_doubling_tp_keeps_the_devices_and_halving_the_batch_its_size() -> None:
    scenario = scenario_of({"tp": 2, "dp": 4}, training={"micro_batch_size": 4})
    levers = applicable(scenario)
    wider = levers["twice the plan.tp, half the plan.dp"]
    assert (wider.plan.tp, wider.plan.dp) == (4, 2)
    smaller = levers["half the training.micro_batch_size"].training
    assert smaller == replace(scenario.training, micro_batch_size=2)


def test_what_could_not_help_is_not_tried() -> None:
    """Flash attention holds no scores, and zero2 already shards what zero1 does."""
    names = applicable(scenario_of({"dp": 4, "sharding": "zero2"})).keys()
    assert "training.recompute: selective" not in names
    assert "plan.sharding: zero1" not in names
