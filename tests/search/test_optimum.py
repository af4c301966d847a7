from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.errors import PlanError
from simulator.scenario import Scenario
from simulator.search.enumeration import enumerate_candidates
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


def test_headroom_leaves_plans_out_until_none_fits(tiny: Scenario) -> None:
    space = Space(8, **SMALL)
    loose = search(tiny, [space], Goal()).counts.by_memory
    tight = search(tiny, [space], Goal(headroom=0.95)).counts.by_memory
    assert tight > loose
    with pytest.raises(PlanError, match="fits: the smallest needs"):
        search(tiny, [space], Goal(headroom=0.99))


def test_a_search_tells_how_many_plans_are_evaluated(two_nodes: Scenario) -> None:
    told: list[tuple[str, int, int | None]] = []
    spaces = [Space(count, schedules=("1f1b",), **SMALL) for count in (8, 16)]
    result = search(two_nodes, spaces, Goal(), lambda *what: told.append(what))
    evaluated = [(done, total) for what, done, total in told if what == "Evaluating plans"]
    everything = result.counts.enumerated
    assert told[:3] == [("Enumerating plans", done, 2) for done in range(3)]
    assert evaluated == sorted(evaluated)
    assert evaluated[-1] == (everything, everything)
    assert {total for _, total in evaluated} == {everything}
