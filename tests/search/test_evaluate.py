from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.scenario import Scenario, check
from simulator.search.enumeration import enumerate_candidates
from simulator.search.evaluate import Evaluation, evaluate
from simulator.search.space import (
    SCHEDULE_NAMES,
    Candidates,
    Space,
    candidate_scenario,
)
from simulator.simulate import simulate
from simulator.spec.load import load_scenario

BASES = {
    "gpt3-175b-a100-64": (16, ["training.global_batch_size=16"]),
    "llama2-7b-fsdp": (16, []),
    "palm-540b": (8, ["training.global_batch_size=8", "plan.dp=1", "plan.shard_group_size=null"]),
}
ROUNDING = 1e-12
"""Sums of bytes that are no whole numbers (a vocabulary over 3 ranks) in another order."""


@lru_cache
def evaluated(name: str) -> tuple[Scenario, Candidates, Evaluation]:
    devices, overrides = BASES[name]
    base = load_scenario(name, overrides)
    every = tuple(schedule for schedule in SCHEDULE_NAMES)
    space = Space(devices, schedules=every, max_micro_batch_size=4, recompute_layers=True)
    candidates = enumerate_candidates(base, space).candidates
    rows = np.random.default_rng(0).choice(len(candidates), 400, replace=False)
    short = rows[(candidates.microbatches * candidates.virtual_stages)[rows] <= 128]
    candidates = candidates.take(np.sort(short))
    return base, candidates, evaluate(base, devices, candidates)


@pytest.mark.parametrize("name", BASES)
@settings(deadline=None, max_examples=25)
@given(place=st.floats(0, 1, exclude_max=True))
def test_step_time_and_memory_are_those_of_a_run(name: str, place: float) -> None:
    base, candidates, times = evaluated(name)
    row = int(place * len(candidates))
    scenario = candidate_scenario(base, candidates, row)
    check(scenario)
    engine = "auto" if times.exact[row] else "maxplus"
    report = simulate(scenario, engine=engine, levers=False)
    if scenario.plan.pp > 1 and scenario.plan.dp > 1 and scenario.plan.sharding.shard_weights:
        # Gathers layer by layer among passes: only a bound is known, at worst without bubbles.
        assert not times.exact[row]
        assert 0.4 * report.step_time_s < times.step_time_s[row] <= report.step_time_s
    else:
        assert times.step_time_s[row] == report.step_time_s
    assert times.peak_bytes[row] == pytest.approx(report.memory.peak_bytes, rel=ROUNDING)


def test_step_time_is_a_lower_bound_where_links_are_shared(two_nodes: Scenario) -> None:
    space = Space(16, max_micro_batch_size=1, shardings=("zero1",))
    candidates = enumerate_candidates(two_nodes, space).candidates
    times = evaluate(two_nodes, 16, candidates)
    shared = np.flatnonzero(~times.exact & (candidates.overlap_dp == 1))[::7]
    assert shared.size > 5
    for row in shared.tolist():
        exact_s = simulate(candidate_scenario(two_nodes, candidates, row), levers=False).step_time_s
        # The last bits differ: a shared link is served in virtual time.
        assert times.step_time_s[row] <= exact_s * (1 + 1e-9)


def test_slow_ranks_make_the_time_a_lower_bound(tiny: Scenario) -> None:
    slow = replace(tiny, stragglers=((0, 0.5),))
    candidates = enumerate_candidates(slow, Space(8, max_micro_batch_size=1)).candidates.take(
        np.arange(0, 400, 57)
    )
    times = evaluate(slow, 8, candidates)
    assert not times.exact.any()
    for row in range(len(candidates)):
        report = simulate(candidate_scenario(slow, candidates, row), levers=False)
        assert times.step_time_s[row] < report.step_time_s


def test_what_does_not_fit_is_not_timed(tiny: Scenario) -> None:
    candidates = enumerate_candidates(tiny, Space(8, max_micro_batch_size=2)).candidates
    times = evaluate(tiny, 8, candidates, capacity_bytes=0.0)
    assert np.isinf(times.step_time_s).all()
    assert (times.peak_bytes > 0).all()
