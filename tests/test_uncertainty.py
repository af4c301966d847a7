"""Ranges: the formula worked by hand, and that they widen with distance."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.uncertainty import (
    PooledSpread,
    Region,
    Setting,
    StackSpread,
    Uncertainty,
    conformal_quantile,
    region_of,
)

POOLED = PooledSpread(spread=0.4, fade_doublings=2.0, rows=200, sources=16)
REGION = Region((8, 1e9, 2048, 1), (64, 8e9, 4096, 4))
OWN = StackSpread(spread=0.1, rows=30, regions={"a100": REGION})


def setting(devices=32.0, parameters=4e9, seq_length=2048.0, micro_batch=2.0, accelerator="a100"):
    return Setting(accelerator, devices, parameters, seq_length, micro_batch)


def test_inside_its_region_a_stack_has_its_own_spread() -> None:
    assert Uncertainty(POOLED, OWN).half_width(setting()) == pytest.approx(0.1)


def test_outside_it_fades_to_the_pooled_one() -> None:
    # 256 devices are 2 doublings beyond 64: f = 2^(-2 / 2) = 1/2, 0.1 / 2 + 0.4 / 2 = 0.25
    assert Uncertainty(POOLED, OWN).half_width(setting(devices=256)) == pytest.approx(0.25)
    # 3 doublings of devices and 4 of parameters: d = 5, f = 2^-2.5
    far = setting(devices=512, parameters=128e9)
    kept = 2**-2.5
    assert REGION.doublings_to(far) == pytest.approx(5.0)
    expected = 0.1 * kept + 0.4 * (1 - kept)
    assert Uncertainty(POOLED, OWN).half_width(far) == pytest.approx(expected)


def test_a_spread_beyond_the_pooled_one_does_not_fade() -> None:
    # 2 doublings, f = 1/2: the mean of 2.0 and 0.4 would be less than inside the region
    wide = StackSpread(2.0, 30, {"a100": REGION})
    assert Uncertainty(POOLED, wide).half_width(setting(devices=256)) == 2.0


@pytest.mark.parametrize(
    ("own", "where", "words"),
    [
        (OWN, {}, "from 30 calibration runs"),
        (OWN, {"devices": 256}, "from 30 calibration runs, 2.0 doublings beyond them"),
        (OWN, {"accelerator": "h100"}, "stack not calibrated on this accelerator"),
        (None, {}, "stack not calibrated"),
    ],
)
def test_a_range_says_what_it_rests_on(own, where, words) -> None:
    assert Uncertainty(POOLED, own).basis(setting(**where)) == words


def test_without_a_spread_of_its_own_the_pooled_one_holds() -> None:
    few = StackSpread(None, 3, {"a100": REGION})
    assert Uncertainty(POOLED).half_width(setting()) == 0.4
    assert Uncertainty(POOLED, few).half_width(setting()) == 0.4


def test_on_another_accelerator_the_larger_spread_holds() -> None:
    other = setting(accelerator="h100")
    assert Uncertainty(POOLED, OWN).half_width(other) == 0.4
    wide = StackSpread(0.7, 30, {"a100": REGION})
    assert Uncertainty(POOLED, wide).half_width(other) == 0.7


def test_the_range_is_symmetric_in_the_logarithm() -> None:
    low, high = Uncertainty(POOLED).range_s(10.0, setting())
    assert (low, high) == (
        pytest.approx(10 * math.exp(-0.4)),
        pytest.approx(10 * math.exp(0.4)),
    )


@given(st.floats(0.01, 3), st.floats(1, 1e6), st.floats(1, 1e6))
@settings(deadline=None)
def test_farther_is_never_narrower(spread: float, near: float, more: float) -> None:
    one = setting(devices=64 * near)
    other = setting(devices=64 * near * more)
    uncertainty = Uncertainty(POOLED, StackSpread(spread, 30, {"a100": REGION}))
    assert uncertainty.half_width(other) >= uncertainty.half_width(one) * (1 - 1e-12)


def test_a_region_holds_its_settings() -> None:
    rows = [setting(devices=8), setting(devices=64, seq_length=512)]
    region = region_of(rows)
    assert (region.low[0], region.high[0], region.low[2]) == (8, 64, 512)
    assert all(region.doublings_to(row) == 0 for row in rows)


def test_conformal_quantile() -> None:
    # 19 scores: rank ceil(20 * 0.9) = 18, the second largest
    assert conformal_quantile(list(range(19, 0, -1))) == 18
    # 9 scores: rank ceil(10 * 0.9) = 9, the largest; 8 scores: rank ceil(8.1) = 9, none
    assert conformal_quantile(list(range(9))) == 8
    assert conformal_quantile(list(range(8))) is None
    assert conformal_quantile([]) is None


@given(st.lists(st.floats(0, 10), min_size=9, max_size=60))
@settings(deadline=None)
def test_at_least_nine_in_ten_scores_are_covered(scores: list[float]) -> None:
    quantile = conformal_quantile(scores)
    assert quantile is not None
    assert sum(score <= quantile for score in scores) >= 0.9 * len(scores)
