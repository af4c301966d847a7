"""Memory and step of every sharding policy, over plans, machines and schedules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from simulator.scenario import Scenario, check
from simulator.shard_groups import pair_size
from simulator.sharding import SHARDING
from simulator.simulate import run_step, simulate
from simulator.step import build_step
from tests.strategies import scenarios
from tests.test_simulate import scenario_of

States = tuple[float, float, float]
CLOSED: Final[dict[str, Callable[[float], States]]] = {
    # bytes per parameter of weights, gradients and optimizer states; N ranks of 8 per node
    "ddp": lambda n: (2, 2, 12),
    "zero1": lambda n: (2, 2, 12 / n),
    "zero2": lambda n: (2, 2 / n, 12 / n),
    "zero3": lambda n: (2 / n, 2 / n, 12 / n),
    "mics": lambda n: (2 / 8, 2 / 8, 12 / 8),
    "zero3-qwz": lambda n: (2 / n, 2 / n, 12 / n),
    # a second copy over the 8 ranks of the node
    "zero3-hpz": lambda n: (2 / n + 2 / 8, 2 / n, 12 / n),
    "zero3-qgz": lambda n: (2 / n, 2 / n, 12 / n),
    "zero++": lambda n: (2 / n + 2 / 8, 2 / n, 12 / n),
    "zero-topo": lambda n: (2 / 2, 2 / 8, 12 / n),
}
"""ZeRO (arXiv 1910.02054), Table 1; ZeRO++ (arXiv 2306.10209), section 3.2; arXiv 2501.04266."""


@pytest.mark.parametrize("name", SHARDING)
@pytest.mark.parametrize("nodes", [1, 4])
def test_states_take_the_closed_form(name: str, nodes: int) -> None:
    scenario = scenario_of(
        {"dp": 8 * nodes, "sharding": name},
        training={
            "precision": "fp16",
            "optimizer": {"name": "adam", "gradient_bytes": 2, "gradient_reduce_bytes": 2},
        },
        cluster={"preset": "frontier", "nodes": nodes},
    )
    parameters = build_step(scenario).costs.rank_parameters((0,))
    terms = simulate(scenario).memory.rank_classes[0].terms
    weights, gradients, optimizer = CLOSED[name](8 * nodes)
    assert terms["weights"] == pytest.approx(weights * parameters)
    assert terms["gradients"] == pytest.approx(gradients * parameters)
    states = terms["optimizer"] + terms["master_weights"]
    assert states == pytest.approx(optimizer * parameters)


@given(scenarios(max_ranks=32), st.sampled_from(sorted(SHARDING)))
@settings(deadline=None)
def test_every_policy_runs_wherever_its_levels_exist(scenario: Scenario, name: str) -> None:
    """Max-plus is a bound of the discrete events, and no moment holds more than the peak."""
    policy = SHARDING[name]
    assume("pair" not in policy.levels or pair_size(scenario.cluster.node) > 1)
    group = None if name == "ddp" else scenario.plan.shard_group_size
    plan = replace(scenario.plan, sharding=policy, shard_group_size=group)
    scenario = replace(scenario, plan=plan)
    check(scenario)
    step = build_step(scenario, fold=False)
    (events, _), (bound, _) = run_step(step, "des"), run_step(step, "maxplus")
    assert (events.end_s >= bound.end_s * (1 - 1e-9)).all()
    report = simulate(scenario)
    assert report.step_time_s > 0
    for rank in report.memory.rank_classes:
        assert max(rank.history_bytes) <= rank.peak_bytes * (1 + 1e-9)
        assert min(rank.terms.values()) >= 0
