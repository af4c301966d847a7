"""Flash attention: counts, times worked by hand, choice of the curve, and laws."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cost.attention import (
    AttentionShape,
    attention_curve,
    attention_flops,
    attention_pairs,
    flash_attention_s,
)
from simulator.errors import PlanError
from simulator.machine import AttentionCurve

CURVE = AttentionCurve(600e12, 475.0, 1e-5, 0.2)
TOKENS = st.integers(1, 2**17).map(float)


def brute_force_pairs(queries: int, keys: int, causal: bool, window: int) -> float:
    """Pairs counted one by one, half of the diagonal, as the s^2 / 2 convention does."""
    total = 0.0
    for position in range(keys - queries, keys):
        seen = position + 0.5 if causal else keys
        total += min(seen, window)
    return total


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("queries", "keys"), [(64, 64), (16, 64), (64, 128)])
@pytest.mark.parametrize("window", [1000, 64, 8])
def test_pairs_match_counting(causal, queries, keys, window):
    shape = AttentionShape(1.0, 1.0, float(queries), float(keys), 64, causal, float(window))
    assert attention_pairs(shape) == pytest.approx(
        brute_force_pairs(queries, keys, causal, window), rel=1e-12
    )


def test_flops_of_the_usual_convention():
    full = AttentionShape(2.0, 8.0, 1024.0, 1024.0, 128, causal=False)
    assert attention_flops(full) == 4 * 2 * 8 * 128 * 1024**2
    assert attention_flops(replace(full, causal=True)) == 2 * 2 * 8 * 128 * 1024**2


def test_forward_time_by_hand():
    # b 2, h 50, s 1024: 100 * 8 = 800 blocks on 100 SMs, 8 full waves, no loss.
    # Computed pairs 1024^2 / 2 + 64 * 1024 = 589,824; FLOPs 4 * 100 * 128 * 589,824 = 3.0199e10.
    # A causal rate of F / (1 + 512 / 1024): T = 10 us + 3.0199e10 * 1.5 / 400e12 = 10 + 113.25 us.
    shape = AttentionShape(2.0, 50.0, 1024.0, 1024.0, 128)
    time_s = flash_attention_s(shape, AttentionCurve(400e12, 512.0, 1e-5, 0.0), 100, backward=False)
    assert time_s == pytest.approx(1e-5 + 4 * 100 * 128 * 589824 * 1.5 / 400e12, rel=1e-12)


def test_backward_is_two_and_a_half_times_the_flops_at_a_lower_rate():
    # T_b = 2 t0 + 2.5 / 0.88 (T_f - t0)
    shape = AttentionShape(2.0, 50.0, 1024.0, 1024.0, 128)
    forward, backward = (flash_attention_s(shape, CURVE, 132, backward=b) for b in (False, True))
    assert backward == pytest.approx(2e-5 + 2.5 / 0.88 * (forward - 1e-5), rel=1e-12)


def test_blocks_below_one_wave_take_a_full_one():
    # 1 sequence, 1 head, 128 queries: one block; 99 more run beside it for free.
    one = AttentionShape(1.0, 1.0, 128.0, 128.0, 128)
    full = replace(one, heads=100.0)
    times = [flash_attention_s(s, CURVE, 100, backward=False) for s in (one, full)]
    assert times[0] == pytest.approx(times[1], rel=1e-12)


def test_a_partial_wave_costs_a_full_one_where_it_is_quantised():
    quantised = replace(CURVE, wave_quantisation=1.0)
    shape = AttentionShape(1.0, 101.0, 128.0, 128.0, 128)
    even = replace(shape, heads=200.0)
    times = [flash_attention_s(s, quantised, 100, backward=False) for s in (shape, even)]
    assert times[0] == pytest.approx(times[1], rel=1e-12)


def test_full_attention_ramps_up_twice_as_fast_as_causal():
    # Twice the keys per query: ramp 1 + 512 / 2048 instead of 1 + 512 / 1024.
    curve = AttentionCurve(400e12, 512.0, 0.0, 0.0)
    shape = AttentionShape(2.0, 50.0, 1024.0, 1024.0, 128, causal=False)
    time_s = flash_attention_s(shape, curve, 100, backward=False)
    assert time_s == pytest.approx(4 * 100 * 128 * 1024**2 * 1.25 / 400e12, rel=1e-12)


def test_a_window_makes_long_sequences_linear():
    # s = 64 w and 128 w: pairs w s - w^2 / 2, so the time doubles but for the launch and the
    # half window at the start: 1 / 128.
    shape = AttentionShape(1.0, 64.0, 65536.0, 65536.0, 128, window=1024.0)
    double = replace(shape, query_tokens=131072.0, key_tokens=131072.0)
    times = [flash_attention_s(s, CURVE, 132, backward=False) for s in (shape, double)]
    assert times[1] / times[0] == pytest.approx(2.0, rel=0.01)


def test_measured_curve_needs_no_assumption(accelerator):
    curve, assumption = attention_curve(accelerator, "flash2", 64)
    assert curve is accelerator.attention["flash2"][64]
    assert assumption is None


@pytest.mark.parametrize("kernel", ["flash1", "flash3"])
def test_missing_kernel_takes_a_relative_and_says_so(accelerator, kernel):
    curve, assumption = attention_curve(accelerator, kernel, 128)
    assert curve is accelerator.attention["flash2"][128]
    assert assumption is not None
    assert kernel in assumption.name
    assert "flash2" in assumption.value


def test_an_older_kernel_is_preferred_to_a_newer_one(accelerator):
    curves = accelerator.attention["flash2"]
    both = replace(accelerator, attention={"flash1": curves, "flash3": curves})
    _, assumption = attention_curve(both, "flash2", 128)
    assert assumption is not None
    assert assumption.value.startswith("flash1")


def test_rate_between_head_sizes(accelerator):
    # 96 is log2(1.5) = 0.585 of the way from 64 to 128: 300 + 0.585 * 100 = 358.5 TFLOP/s.
    curve, assumption = attention_curve(accelerator, "flash2", 96)
    assert curve.forward_flops_per_s == pytest.approx(358.5e12, rel=1e-3)  # printed digits
    assert assumption is not None


def test_head_sizes_are_padded(accelerator):
    # 80 runs as 96 and wastes 16 of 96: 358.5 * 80 / 96 = 298.7 TFLOP/s of useful work.
    curve, _ = attention_curve(accelerator, "flash2", 80)
    assert curve.forward_flops_per_s == pytest.approx(298.7e12, rel=1e-3)


def test_rate_beyond_the_measured_head_sizes(accelerator):
    above, _ = attention_curve(accelerator, "flash2", 256)
    below, _ = attention_curve(accelerator, "flash2", 32)
    assert above.forward_flops_per_s == 400e12
    # 300 * 0.5^0.2 = 261.2
    assert below.forward_flops_per_s == pytest.approx(261.2e12, rel=1e-3)


def test_no_kernel_at_all_is_an_error(accelerator):
    with pytest.raises(PlanError, match=r"round has no measured fused attention[\s\S]*unfused"):
        attention_curve(replace(accelerator, attention={}), "flash2", 128)


@given(batch=st.integers(1, 64).map(float), tokens=TOKENS, window=TOKENS, causal=st.booleans())
@settings(deadline=None)
def test_laws(batch, tokens, window, causal):
    shape = AttentionShape(batch, 16.0, tokens, tokens, 128, causal)
    time_s = flash_attention_s(shape, CURVE, 132, backward=False)
    assert time_s >= CURVE.launch_s + attention_flops(shape) / CURVE.forward_flops_per_s
    windowed = flash_attention_s(replace(shape, window=window), CURVE, 132, backward=False)
    assert windowed <= time_s * (1 + 1e-12)  # rounding when the window covers everything


@given(
    rows=st.lists(st.tuples(st.integers(1, 64).map(float), TOKENS), min_size=1, max_size=8),
    causal=st.booleans(),
    backward=st.booleans(),
)
@settings(deadline=None)
def test_scalar_equals_row(rows, causal, backward):
    heads, tokens = np.array(rows).T

    def time_s(h, t):
        shape = AttentionShape(2.0, h, t, t, 128, causal, 4096.0)
        return flash_attention_s(shape, CURVE, 132, backward=backward)

    np.testing.assert_allclose(time_s(heads, tokens), [time_s(*r) for r in rows], rtol=1e-14)
