from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.errors import PlanError
from simulator.plan import Recompute
from simulator.scenario import Scenario
from simulator.search.chosen import chosen_candidates, effective
from simulator.search.enumeration import enumerate_candidates
from simulator.search.optimum import Goal, search_among
from simulator.search.space import Space, candidate_scenario, stage_split
from simulator.sharding import SHARDING
from simulator.simulate import simulate

SMALL = {"schedules": ("1f1b", "interleaved"), "max_micro_batch_size": 1}


def changed(scenario: Scenario, **plan: object) -> Scenario:
    return replace(scenario, plan=replace(scenario.plan, **plan))


def test_scenarios_of_candidates_are_those_candidates_again(tiny: Scenario) -> None:
    candidates = enumerate_candidates(tiny, Space(8, **SMALL)).candidates
    rows = range(0, len(candidates), 7)
    scenarios = [candidate_scenario(tiny, candidates, row) for row in rows]
    again = chosen_candidates(tiny, scenarios).columns()
    for name, column in candidates.take(np.array(rows)).columns().items():
        assert again[name].tolist() == column.tolist(), name


def test_the_best_of_some_plans_is_that_of_their_runs(tiny: Scenario) -> None:
    """Plans on 8 and on 4 devices: each is timed on its own number."""
    plans = [
        tiny,
        changed(tiny, dp=4),
        changed(tiny, dp=4, tp=2),
        changed(tiny, dp=2, pp=4),
        changed(tiny, dp=4, pp=2, overlap_pp=True),
    ]
    found = search_among(tiny, chosen_candidates(tiny, plans), Goal(top=5))
    times = [simulate(plan, levers=False).step_time_s for plan in plans]
    assert [one.step_time_s for one in found.best] == sorted(times)
    assert [one.row for one in found.best] == np.argsort(times).tolist()
    assert [one.devices for one in found.best] == [
        plans[one.row].plan.num_devices for one in found.best
    ]
    assert found.counts.by_rule == 0


def test_switches_without_effect_and_an_even_split_written_out_are_dropped(tiny: Scenario) -> None:
    written = changed(tiny, sequence_parallel=True, overlap_tp=True, layers_per_stage=(8,))
    assert effective(written).plan == effective(tiny).plan


def test_the_split_of_the_base_scenario_is_searched(tiny: Scenario) -> None:
    """Neither 8 layers nor 10, embedding and output counted, divide over 3 pipeline ranks."""
    base = changed(tiny, pp=3, dp=2, layers_per_stage=(2, 3, 3))
    assert stage_split(base, 3, balanced=True) == (2, 3, 3)
    # 5 stages of 10 layers, embedding and output counted: 2 each, 1 and 1 at the ends.
    assert stage_split(base, 5, balanced=True) == (1, 2, 2, 2, 1)
    for scenario, searched in ((base, True), (tiny, False)):
        candidates = enumerate_candidates(scenario, Space(6, schedules=("1f1b",))).candidates
        assert (3 in candidates.pp) is searched
    (found,) = search_among(base, chosen_candidates(base, [base]), Goal(top=1)).best
    assert found.settings["plan.layers_per_stage"] == [2, 3, 3]
    assert found.step_time_s == simulate(base, levers=False).step_time_s


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plan": {"layers_per_stage": (3, 5), "pp": 2, "dp": 4}}, "plan.layers_per_stage"),
        ({"plan": {"shard_group_size": 2, "sharding": SHARDING["zero1"]}}, "shard_group_size"),
        ({"plan": {"sharding": SHARDING["zero++"]}}, "sharding zero\\+\\+ is not searched"),
        ({"training": {"recompute": Recompute("alternate")}}, "mode alternate is not searched"),
        ({"training": {"recompute": Recompute("full", None, True)}}, "training.recompute"),
        ({"training": {"seq_length": 512}}, "training.seq_length"),
        ({"stack": {"dropout": False}}, "stack.dropout"),
    ],
)
def test_what_a_search_has_no_form_for_is_refused(
    tiny: Scenario, change: dict[str, dict[str, object]], message: str
) -> None:
    parts = {name: replace(getattr(tiny, name), **values) for name, values in change.items()}
    with pytest.raises(PlanError, match=message):
        chosen_candidates(tiny, [replace(tiny, **parts)])
