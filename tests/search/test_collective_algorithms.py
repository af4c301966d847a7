"""A search follows the algorithms of the cluster's library, as a run does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.machine import USUAL_ALGORITHMS
from simulator.scenario import Scenario
from simulator.search.enumeration import enumerate_candidates
from simulator.search.evaluate import evaluate
from simulator.search.space import Space, candidate_scenario
from simulator.simulate import simulate

FORCED = ("ring", "hierarchical", "collnet", "halving_doubling")


def having(scenario: Scenario, algorithms: tuple[str, ...]) -> Scenario:
    cluster = replace(scenario.cluster, collective_algorithms=algorithms)
    return replace(scenario, cluster=cluster)


@pytest.mark.parametrize("algorithms", [("ring",), FORCED])
def test_every_plan_takes_what_a_run_takes(
    two_nodes: Scenario, algorithms: tuple[str, ...]
) -> None:
    base = having(two_nodes, algorithms)
    space = Space(16, max_micro_batch_size=1, schedules=("1f1b",), shardings=("zero1",))
    candidates = enumerate_candidates(base, space).candidates
    found = evaluate(base, 16, candidates)
    for row in range(0, len(candidates), 7):
        engine = "auto" if found.exact[row] else "maxplus"
        scenario = candidate_scenario(base, candidates, row)
        assert found.step_time_s[row] == simulate(scenario, engine=engine, levers=False).step_time_s
    usual = evaluate(having(two_nodes, USUAL_ALGORITHMS), 16, candidates).step_time_s
    assert np.any(found.step_time_s != usual)
