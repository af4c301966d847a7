"""A search prices links between sites, and those of a graph, as a run does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.scenario import Scenario
from simulator.search.enumeration import enumerate_candidates
from simulator.search.evaluate import evaluate
from simulator.search.space import Space, candidate_scenario
from simulator.simulate import simulate
from simulator.wiring import GraphWiring, NetworkWiring, WanWiring

FABRICS = {
    "two sites": WanWiring(1, 12.5e9, 5e-3),
    "graph": GraphWiring((("node0", "switch", 25e9, 1e-3), ("switch", "node1", 100e9, 1e-3))),
}


def joined(scenario: Scenario, wiring: NetworkWiring | None) -> Scenario:
    return replace(scenario, cluster=replace(scenario.cluster, fabric=wiring))


@pytest.mark.parametrize("wiring", FABRICS.values(), ids=FABRICS)
def test_every_plan_takes_what_a_run_takes(two_nodes: Scenario, wiring: NetworkWiring) -> None:
    base = joined(two_nodes, wiring)
    space = Space(16, max_micro_batch_size=1, schedules=("1f1b",), shardings=("zero1",))
    candidates = enumerate_candidates(base, space).candidates
    found = evaluate(base, 16, candidates)
    for row in range(0, len(candidates), 7):
        engine = "auto" if found.exact[row] else "maxplus"
        scenario = candidate_scenario(base, candidates, row)
        assert found.step_time_s[row] == simulate(scenario, engine=engine, levers=False).step_time_s
    near = evaluate(joined(two_nodes, None), 16, candidates).step_time_s
    assert np.all(found.step_time_s >= near)
    assert np.any(found.step_time_s > 2 * near)
