"""Sensitivities: a factor of one is zero, bars are sorted, settings that break rules are listed."""

import pytest

from simulator.errors import SpecError, UnknownNameError
from simulator.simulate import simulate
from simulator.whatif.axes import Axis
from simulator.whatif.hardware import HARDWARE, levers_of
from simulator.whatif.sensitivity import sensitivity
from tests.whatif.made import small

FOUND = sensitivity(small("plan.sharding=zero3"))


def test_a_factor_of_one_is_zero() -> None:
    found = sensitivity(small(), factors=[1.0])
    assert [bar.name for bar in found.bars] == list(
        levers_of(small().scenario())
    )  # equals keep the table's order
    for bar in found.bars:
        (effect,) = bar.effects
        assert (effect.setting, effect.speed_change, bar.reach) == ("x1", 0.0, 0.0)
        assert set(effect.cost_s.values()) == {0.0}


def test_every_lever_has_every_factor() -> None:
    assert {bar.name for bar in FOUND.bars} == set(levers_of(small().scenario()))
    assert all([e.setting for e in bar.effects] == ["x0.5", "x2"] for bar in FOUND.bars)


def test_the_largest_reach_comes_first() -> None:
    reaches = [bar.reach for bar in FOUND.bars]
    assert reaches == sorted(reaches, reverse=True)
    assert FOUND.bars[0].name == "peak_flops"
    slow, fast = (effect.speed_change for effect in FOUND.bars[0].effects)
    assert slow < 0 < fast
    assert FOUND.bars[0].reach == pytest.approx(fast - slow)


def test_reach_counts_from_the_base() -> None:
    """Two settings on one side: from the farther one to the base."""
    (bar,) = sensitivity(small(), factors=[2.0, 4.0], levers=["peak_flops"]).bars
    assert bar.reach == pytest.approx(bar.effects[1].speed_change)


def test_an_effect_is_what_run_says() -> None:
    (bar,) = sensitivity(small(), factors=[2.0], levers=["peak_flops"]).bars
    base, other = small().scenario(), HARDWARE["peak_flops"].pull(small().scenario(), 2.0)
    ratio = simulate(base).step_time_s / simulate(other).step_time_s
    assert bar.effects[0].speed_change == pytest.approx(ratio - 1, rel=1e-12)


def test_memory_gives_headroom_and_no_time() -> None:
    bar = next(bar for bar in FOUND.bars if bar.name == "memory_size")
    memory = FOUND.base.memory
    assert [effect.speed_change for effect in bar.effects] == [0.0, 0.0]
    assert [effect.headroom_bytes for effect in bar.effects] == pytest.approx(
        [f * memory.capacity_bytes - memory.peak_bytes for f in (0.5, 2.0)]
    )


def test_keys_of_the_scenario_stand_beside_the_levers() -> None:
    axis = Axis("training.micro_batch_size", (2, 3, 4))
    found = sensitivity(small(), [axis], levers=["peak_flops"])
    bar = next(bar for bar in found.bars if bar.name == axis.path)
    assert [effect.setting for effect in bar.effects] == ["2", "4"]
    assert bar.effects[1].speed_change == 0.0  # the base has 4
    ((name, setting, reason),) = found.left_out
    assert (name, setting) == (axis.path, "3")
    assert "not divisible by dp * micro_batch_size = 4 * 3" in reason


def test_wrong_levers_and_factors_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown lever 'nic'"):
        sensitivity(small(), levers=["nic"])
    for factor in (0.0, -1.0, 1e-300, 9e-4, 1001.0, float("inf"), float("nan")):
        with pytest.raises(SpecError, match="is not between"):
            sensitivity(small(), factors=[factor])
