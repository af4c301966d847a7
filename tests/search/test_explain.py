from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.scenario import Scenario
from simulator.search.explain import explanation
from simulator.search.optimum import Goal, search
from simulator.search.space import Space

SMALL = {"max_micro_batch_size": 1, "shardings": ("zero1",)}


def test_the_winner_is_explained_by_terms_that_sum_to_the_difference(tiny: Scenario) -> None:
    result = search(tiny, [Space(8, **SMALL)], Goal(top=8))
    why = explanation(result)
    assert why is not None
    difference = sum(other - own for own, other in why.terms_s.values())
    expected = result.best[why.runner_up].step_time_s - result.best[0].step_time_s
    assert difference == pytest.approx(expected, rel=1e-6)
    assert why.changed
    winner, other = result.best[0].settings, result.best[why.runner_up].settings
    for key, pair in why.changed.items():
        assert pair == (winner[key], other[key])
        assert pair[0] != pair[1]


def test_plans_as_fast_as_the_winner_are_passed_over(tiny: Scenario) -> None:
    result = search(tiny, [Space(8, **SMALL)], Goal(top=3))
    times = [found.step_time_s for found in result.best]
    best = tuple(
        replace(found, step_time_s=seconds)
        for found, seconds in zip(result.best, (times[0], times[0], times[0] + 1), strict=True)
    )
    why = explanation(replace(result, best=best))
    assert why is not None
    assert why.runner_up == 2
    equal = explanation(replace(result, best=best[:2], scenarios=result.scenarios[:2]))
    assert equal is not None
    assert equal.runner_up == 1


def test_one_plan_needs_no_explanation(tiny: Scenario) -> None:
    assert explanation(search(tiny, [Space(8, **SMALL)], Goal(top=1))) is None


def test_other_numbers_of_devices_are_compared_in_device_seconds(tiny: Scenario) -> None:
    goal = Goal(objective="cost_per_token", top=40, price_per_device_hour=1.0)
    result = search(tiny, [Space(4, **SMALL), Space(8, **SMALL)], goal)
    winner = result.best[0]
    place = next(i for i, found in enumerate(result.best) if found.devices != winner.devices)
    pair = (winner, result.best[place])
    scenarios = (result.scenarios[0], result.scenarios[place])
    why = explanation(replace(result, best=pair, scenarios=scenarios))
    assert why is not None
    assert why.unit == "device-s"
    device_s = [found.devices * found.step_time_s for found in pair]
    difference = sum(other - own for own, other in why.terms_s.values())
    assert difference == pytest.approx(device_s[1] - device_s[0], rel=1e-6)
