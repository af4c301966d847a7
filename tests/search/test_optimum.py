from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.errors import PlanError, SpecError
from simulator.scenario import Scenario
from simulator.search.enumeration import enumerate_candidates
from simulator.search.explain import explanation
from simulator.search.frontier import pareto_front
from simulator.search.objective import Setting, cost_per_token
from simulator.search.optimum import Goal, search
from simulator.search.record import search_record
from simulator.search.space import Space, candidate_scenario
from simulator.simulate import simulate

SMALL = {"max_micro_batch_size": 1, "shardings": ("zero1",)}


@pytest.mark.parametrize("batch", [16, 32])
def test_the_optimum_is_that_of_brute_force_through_the_simulator(
    two_nodes: Scenario, batch: int
) -> None:
    training = replace(two_nodes.training, global_batch_size=batch)
    base = replace(two_nodes, training=training)
    space = Space(16, schedules=("1f1b",), **SMALL)
    candidates = enumerate_candidates(base, space).candidates
    reports = [
        simulate(candidate_scenario(base, candidates, row), levers=False)
        for row in range(len(candidates))
    ]
    fitting = [(r.step_time_s, row) for row, r in enumerate(reports) if r.memory.fits]
    result = search(base, [space], Goal(top=3))
    times = [time for time, _ in sorted(fitting)[:3]]
    assert [found.step_time_s for found in result.best] == pytest.approx(times, rel=1e-12)
    assert result.best[0].row == min(fitting)[1]
    assert all(found.verified for found in result.best)
    counts = result.counts
    assert counts.by_memory + counts.by_bound + counts.verified == counts.enumerated


def test_searching_twice_gives_the_same(tiny: Scenario) -> None:
    space = Space(8, **SMALL)
    once, again = (search(tiny, [space], Goal()) for _ in range(2))
    assert search_record(tiny, once) == search_record(tiny, again)


def test_more_devices_are_compared_and_cost_prefers_fewer(tiny: Scenario) -> None:
    spaces = [Space(devices, **SMALL) for devices in (4, 8)]
    fast = search(tiny, spaces, Goal(top=1)).best[0]
    cheap = search(tiny, spaces, Goal("cost_per_token", 1, 0.0, 2.0)).best[0]
    assert fast.devices == 8
    assert cheap.devices == 4
    # price / 3600 * devices * step / (16 sequences of 1024 tokens)
    cost = 2.0 / 3600 * 4 * cheap.step_time_s / (16 * 1024)
    assert cheap.cost_per_token == pytest.approx(cost)


def test_costs_need_a_price() -> None:
    with pytest.raises(SpecError, match="needs a price"):
        cost_per_token(1.0, Setting(tokens=1.0, devices=1.0, price_per_device_hour=None))


def test_headroom_leaves_plans_out_until_none_fits(tiny: Scenario) -> None:
    space = Space(8, **SMALL)
    loose = search(tiny, [space], Goal()).counts.by_memory
    tight = search(tiny, [space], Goal(headroom=0.95)).counts.by_memory
    assert tight > loose
    with pytest.raises(PlanError, match="fits: the smallest needs"):
        search(tiny, [space], Goal(headroom=0.99))


def test_the_winner_is_explained_by_terms_that_sum_to_the_difference(tiny: Scenario) -> None:
    result = search(tiny, [Space(8, **SMALL)], Goal(top=8))
    why = explanation(result)
    assert why is not None
    difference = sum(other - own for own, other in why.terms_s.values())
    expected = result.best[why.runner_up].step_time_s - result.best[0].step_time_s
    assert difference == pytest.approx(expected, rel=1e-6)
    assert why.changed


def test_pareto_front_keeps_what_nothing_beats() -> None:
    time = np.array([3.0, 1.0, 2.0, 2.0, 4.0])
    memory = np.array([1.0, 9.0, 5.0, 5.0, 1.0])
    # (1, 9), (2, 5) once, (3, 1); (4, 1) is slower than (3, 1) at the same memory.
    assert pareto_front((time, memory)).tolist() == [1, 2, 0]


def test_a_search_tells_how_many_plans_are_evaluated(two_nodes: Scenario) -> None:
    told: list[tuple[str, int, int]] = []
    spaces = [Space(count, schedules=("1f1b",), **SMALL) for count in (8, 16)]
    result = search(two_nodes, spaces, Goal(), lambda *what: told.append(what))
    evaluated = [(done, total) for what, done, total in told if what == "plans evaluated"]
    everything = result.counts.enumerated
    assert evaluated == sorted(evaluated)
    assert evaluated[-1] == (everything, everything)
    assert {total for _, total in evaluated} == {everything}
