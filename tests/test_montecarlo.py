"""Noise on a step: exact cases, laws, and the same numbers for the same seed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import montecarlo
from simulator.api import load_scenario, simulate
from simulator.engine.breakdown import batch_period_s, period_s
from simulator.engine.maxplus import solve_batch
from simulator.engine.timeline import Timeline
from simulator.errors import SpecError
from simulator.montecarlo import Noise, sample_steps
from simulator.scenario import Scenario
from simulator.step import build_step
from tests.strategies import scenarios

ONE_GPU = load_scenario("gpt2-xl-one-gpu")
ALL = Noise(speed=0.02, link=0.05, duration=0.01)
SUM = 1e-12
"""Relative rounding of sums in another order."""


def test_one_device_scales_as_a_whole() -> None:
    """One device, nothing to wait for: step = median * exp(spread * z), z normal."""
    found = sample_steps(ONE_GPU, Noise(speed=0.1), samples=2000, seed=1)
    logs = np.log(found.step_time_s / found.noise_free_s) / 0.1
    # Of 2000 draws the mean has an error of 1 / sqrt(2000) = 0.022, the deviation of 0.016.
    assert logs.mean() == pytest.approx(0, abs=0.1)
    assert logs.std() == pytest.approx(1, abs=0.08)
    # The 95th percentile of a normal is 1.645; its error here is 0.047.
    assert math.log(found.percentile_s(95) / found.noise_free_s) / 0.1 == pytest.approx(
        1.645, abs=0.2
    )
    assert found.noise_free_s == pytest.approx(simulate(ONE_GPU).step_time_s, rel=SUM)


def test_links_are_no_concern_of_one_device() -> None:
    found = sample_steps(ONE_GPU, Noise(link=0.3), samples=3)
    assert found.step_time_s == pytest.approx([found.noise_free_s] * 3, rel=SUM)


def test_ops_vary_less_together_than_one_by_one() -> None:
    """Independent ops average out: the step varies far less than an op."""
    found = sample_steps(ONE_GPU, Noise(duration=0.1), samples=200)
    assert 0 < np.log(found.step_time_s).std() < 0.06


def test_the_slowest_of_the_replicas_sets_the_pace() -> None:
    """With n equal replicas the median factor is that of the largest of n draws."""
    eight = load_scenario("gpt2-xl-one-gpu", ["plan.dp=8"])
    found = sample_steps(eight, Noise(speed=0.05), samples=300, seed=3)
    # The median of the largest of 8 normals is 1.38: Phi(1.38) ** 8 = 0.916 ** 8 = 0.5.
    assert 0.8 < math.log(found.percentile_s(50) / found.noise_free_s) / 0.05 <= 1.5
    assert found.percentile_s(5) > found.noise_free_s


def test_the_first_samples_do_not_depend_on_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = load_scenario("gpt3-175b-a100-64")
    many = sample_steps(scenario, ALL, samples=12, seed=5)
    assert (
        sample_steps(scenario, ALL, samples=4, seed=5).step_time_s == many.step_time_s[:4]
    ).all()
    monkeypatch.setattr(montecarlo, "_BLOCK_CELLS", 1)
    told: list[tuple[str, int, int | None]] = []
    again = sample_steps(
        scenario, ALL, samples=12, seed=5, progress=lambda *what: told.append(what)
    )
    assert (again.step_time_s == many.step_time_s).all()
    assert told == [("Drawing samples", done, 12) for done in range(13)]
    other = sample_steps(scenario, ALL, samples=12, seed=6)
    assert (other.step_time_s != many.step_time_s).all()


@settings(deadline=None, max_examples=30)
@given(scenarios(max_ranks=16))
def test_without_noise_every_sample_is_the_run(scenario: Scenario) -> None:
    found = sample_steps(scenario, Noise(), samples=2)
    expected = simulate(scenario, engine="maxplus", fold=False, levers=False).step_time_s
    assert found.step_time_s == pytest.approx([expected] * 2, rel=1e-9)
    assert found.noise_free_s == found.step_time_s[0]


@settings(deadline=None, max_examples=30)
@given(scenarios(max_ranks=16), st.integers(0, 9))
def test_a_batch_has_the_period_of_every_row(scenario: Scenario, seed: int) -> None:
    step = build_step(scenario, as_batch=True)
    graph = step.row_graphs[0]
    noise = np.random.default_rng(seed).uniform(0.5, 2.0, (3, graph.num_ops))
    durations = step.durations_s()[0] * noise
    ends = solve_batch(graph, durations)
    for joined in (True, False):
        periods = batch_period_s(graph, durations, ends, joined=joined)
        for own, end, period in zip(durations, ends, periods, strict=True):
            row = Timeline(graph, end - own, end, engine="maxplus")
            assert period == pytest.approx(period_s(row, joined=joined), rel=1e-9)


@settings(deadline=None, max_examples=30)
@given(scenarios(max_ranks=16), st.integers(1, 4))
def test_jobs_of_a_batch_do_not_wait_for_one_another(scenario: Scenario, replicas: int) -> None:
    step = build_step(scenario, as_batch=True)
    noise = np.random.default_rng(0).uniform(0.5, 2.0, (3 * replicas, step.graph.num_ops))
    durations = step.durations_s()[0] * noise
    together = solve_batch(step.graph, durations, couple=True, replicas=replicas)
    for first in range(0, 3 * replicas, replicas):
        rows = slice(first, first + replicas)
        assert (together[rows] == solve_batch(step.graph, durations[rows], couple=True)).all()


def test_too_much_is_refused() -> None:
    with pytest.raises(SpecError, match="0 samples"):
        sample_steps(ONE_GPU, ALL, samples=0)
    with pytest.raises(SpecError, match=r"noise link = -0\.1"):
        Noise(link=-0.1)
    wide = replace(ONE_GPU, plan=replace(ONE_GPU.plan, dp=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(montecarlo, "MAX_CELLS", 10)
        with pytest.raises(SpecError, match="ops of 4 replicas"):
            sample_steps(wide, ALL, samples=1)
