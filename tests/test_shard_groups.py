"""Levels of sharding policies on real nodes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings

from simulator.errors import PlanError
from simulator.scenario import Scenario, check
from simulator.shard_groups import group_between, level_size, pair_size
from simulator.sharding import LEVELS, SHARDING
from simulator.spec.hardware import load_node
from simulator.spec.load import load_scenario
from tests.strategies import scenarios
from tests.test_simulate import scenario_of

FRONTIER: dict[str, object] = {"preset": "frontier", "nodes": 4}


@pytest.mark.parametrize(
    ("node", "size"),
    [
        ("frontier", 2),  # two dies of an MI250X, joined by four links
        ("dgx-a100", 1),  # a switch
        ("dgx-2", 1),
        ("dgx-1v", 1),  # the double links of the cube join all eight
    ],
)
def test_pairs_are_joined_by_the_widest_links(node: str, size: int) -> None:
    assert pair_size(load_node(node)) == size


def test_levels_of_a_plan_on_frontier() -> None:
    scenario = scenario_of({"dp": 32, "sharding": "zero-topo"}, cluster=FRONTIER)
    node = scenario.cluster.node
    assert [level_size(scenario.plan, node, level) for level in LEVELS] == [1, 2, 8, 32]
    halved = scenario_of({"tp": 2, "dp": 16, "sharding": "zero-topo"}, cluster=FRONTIER)
    # Tensor parallelism takes the pair; 4 of the 8 dies of a node are data-parallel neighbours.
    assert [level_size(halved.plan, node, level) for level in LEVELS] == [1, 1, 4, 16]
    group = group_between(halved.plan, 4, 16)
    assert (group.size, group.stride) == (4, 8)


@given(scenarios(max_ranks=64))
@settings(deadline=None)
def test_every_level_divides_the_next(scenario: Scenario) -> None:
    sizes = [level_size(scenario.plan, scenario.cluster.node, level) for level in LEVELS]
    assert all(outer % inner == 0 for inner, outer in pairwise(sizes))
    assert sizes[-1] == scenario.plan.shard_size


def test_pairs_need_a_machine_that_has_them() -> None:
    with pytest.raises(PlanError, match="zero-topo divides weights") as error:
        scenario_of({"dp": 8, "sharding": "zero-topo"})
    assert "dgx-a100" in error.value.problem
    assert "zero++" in error.value.hint
    assert "zero-topo" not in error.value.hint


def test_lists_of_shards_are_older_than_the_policies() -> None:
    scenario = scenario_of({"dp": 8, "sharding": "zero3"}, stack={"listed_weights": True})
    check(scenario)
    plan = replace(scenario.plan, sharding=SHARDING["zero++"])
    with pytest.raises(PlanError, match="listed_weights"):
        check(replace(scenario, plan=plan))


def test_experts_on_fewer_ranks_need_one_group() -> None:
    with pytest.raises(PlanError, match="zero\\+\\+ with experts on fewer ranks"):
        load_scenario("mixtral-8x7b-64", ["plan.sharding=zero++"])


@pytest.mark.parametrize("name", ["hsdp", "mics"])
def test_groups_are_nodes_unless_told_otherwise(name: str) -> None:
    assert scenario_of({"dp": 32, "sharding": name}, cluster=FRONTIER).plan.shard_group_size == 8
    told = scenario_of({"dp": 32, "sharding": name, "shard_group_size": 16}, cluster=FRONTIER)
    assert told.plan.shard_group_size == 16
