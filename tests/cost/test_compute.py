"""GEMM time: numbers worked by hand on a round accelerator, and the laws of the model."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cost.compute import Matmul, matmul_flops, matmul_s, peak_flops_per_s
from simulator.errors import PlanError
from simulator.machine import Accelerator, GemmCurve, MemoryCurve

# H100-like: every term of the model is active
CURVE = GemmCurve(
    peak_fraction=0.84,
    sustained_fraction=0.85,
    droop_s=1.5e-3,
    launch_s=2.1e-6,
    tile_s=1.3e-6,
    wave_quantisation=0.13,
    bandwidth_fraction=0.72,
    overlap_exponent=4.5,
    small_tile_penalty=0.5,
    split_s=0.6e-6,
)
DEVICE = Accelerator(
    "h100-like",
    "hopper",
    132,
    {"bf16": 989.4e12},
    80e9,
    3.35e12,
    50e6,
    700.0,
    CURVE,
    {},
    MemoryCurve(2e-6, {}),
)
SIZES = st.integers(1, 65536).map(float)


def test_flops():
    assert matmul_flops(2, 3, 4, batch=5) == 2 * 5 * 2 * 3 * 4


def test_compute_bound_time_is_flops_over_reachable_peak(accelerator):
    # 8192^3 with tiles of 256x128: 32 * 64 = 2048 tiles, 20.48 waves, no quantisation.
    # 2 * 8192^3 / (0.5 * 1e15) = 2.199 ms; memory 3 * 8192^2 * 2 B / 0.5e12 = 0.805 ms.
    # The p-norm with p = 64 adds less than 1e-20 of that.
    shape = Matmul(8192.0, 8192.0, 8192.0)
    assert matmul_s(shape, accelerator, "bf16") == pytest.approx(2.0 * 8192**3 / 0.5e15, rel=1e-12)


def test_a_precision_that_keeps_part_of_its_peak_takes_that_much_longer(accelerator):
    # Compute-bound 8192^3 (above): 0.8 of the peak is 1 / 0.8 of the time.
    curve = replace(accelerator.gemm, precision_fraction={"bf16": 0.8})
    shape = Matmul(8192.0, 8192.0, 8192.0)
    expected = matmul_s(shape, accelerator, "bf16") / 0.8
    slower = replace(accelerator, gemm=curve)
    assert matmul_s(shape, slower, "bf16") == pytest.approx(expected, rel=1e-12)


def test_memory_bound_time_is_bytes_over_reachable_bandwidth(accelerator):
    # [1, 65536] x [65536, 1024]: (65536 + 65536 * 1024 + 1024) * 2 B / 0.5e12 = 268.7 us.
    # Compute is 16 tiles of 64x64 on 100 SMs, each 2 * 64^2 * 65536 / 5e12 = 107 us: the p-norm
    # adds (107 / 269)^64 / 64, nothing.
    shape = Matmul(1.0, 1024.0, 65536.0)
    expected = (65536 + 65536 * 1024 + 1024) * 2 / 0.5e12
    assert matmul_s(shape, accelerator, "bf16") == pytest.approx(expected, rel=1e-12)


def test_few_tiles_take_the_time_of_one(accelerator):
    # One 64x64 tile on one of 100 SMs: 2 * 64 * 64 * 65536 / (0.5 * 1e15 / 100) = 107.4 us,
    # memory (2 * 64 * 65536 + 64^2) * 2 / 0.5e12 = 33.6 us. Splitting costs 1 s here.
    shape = Matmul(64.0, 64.0, 65536.0)
    expected = 2 * 64 * 64 * 65536 / 5e12
    # (33.6 / 107.4)^64 is below rounding
    assert matmul_s(shape, accelerator, "bf16") == pytest.approx(expected, rel=1e-12)


def test_splitting_k_fills_idle_sms(accelerator):
    # As above, with free splits: 16 blocks of depth 4096 in parallel, 107.4 / 16 = 6.71 us, so
    # memory rules: (2 * 64 * 65536 * 2 + 64^2 * (2 + 8 * s)) / 0.5e12, least for the smallest
    # split whose compute hides behind it, s = 4 (26.8 us): 33.83 us. p = 64: (26.8 / 33.8)^64 / 64
    # adds 5e-9.
    free = replace(accelerator, gemm=replace(accelerator.gemm, split_s=0.0))
    expected = (2 * 64 * 65536 * 2 + 64**2 * (2 + 8 * 4)) / 0.5e12
    actual = matmul_s(Matmul(64.0, 64.0, 65536.0), free, "bf16")
    assert actual == pytest.approx(expected, rel=1e-7)


def test_full_wave_quantisation_rounds_waves_up(accelerator, plain_curve):
    # 101 tiles of 256x128 on 100 SMs. With q = 1 two waves of 2 * 256 * 128 * 4096 / 5e12; smaller
    # tiles do better only if they pack: 128x128 gives 202 tiles = 3 waves = 1.5 of these, 64x64
    # 808 = 9 waves of an eighth = 1.125, so 1.125 it is (64x64), and 1.01 with q = 0.
    # Bandwidth is out of the way: p = 64 needs memory below a tenth of compute to vanish.
    accelerator = replace(accelerator, memory_bandwidth_bytes_per_s=1e15)
    tile_s = 2 * 256 * 128 * 4096 / 5e12
    shape = Matmul(256.0 * 101, 128.0, 4096.0)
    quantised = replace(accelerator, gemm=replace(plain_curve, wave_quantisation=1.0))
    assert matmul_s(shape, accelerator, "bf16") == pytest.approx(1.01 * tile_s, rel=1e-9)
    assert matmul_s(shape, quantised, "bf16") == pytest.approx(1.125 * tile_s, rel=1e-9)


def test_tile_overhead_and_launch_add_up(accelerator, plain_curve):
    # One tile, one wave: T = t0 + tile + tc.
    curve = replace(plain_curve, tile_s=5e-6, launch_s=3e-6)
    shape = Matmul(64.0, 64.0, 65536.0)
    bare = matmul_s(shape, accelerator, "bf16")
    loaded = matmul_s(shape, replace(accelerator, gemm=curve), "bf16")
    assert loaded == pytest.approx(bare + 8e-6, rel=1e-9)


def test_small_tiles_are_penalised(accelerator, plain_curve):
    # 64x64 has (64 + 64) / 64^2 = 1/32 operand bytes per FLOP, 256x128 has 384 / 32768: a ratio
    # of 8/3, so eps = 1 / (1 + g (8/3 - 1)); with g = 0.6 the one-tile GEMM takes twice as long.
    shape = Matmul(64.0, 64.0, 65536.0)
    bare = matmul_s(shape, accelerator, "bf16")
    penalised = replace(accelerator, gemm=replace(plain_curve, small_tile_penalty=0.6))
    assert matmul_s(shape, penalised, "bf16") == pytest.approx(2.0 * bare, rel=1e-9)


def test_droop(accelerator, plain_curve):
    # Chosen so that T = tau: half of the droop has set in, T (1 + (1 / 0.8 - 1) / 2) = 1.125 T;
    # in the steady state T / 0.8 = 1.25 T.
    shape = Matmul(8192.0, 8192.0, 8192.0)
    base = matmul_s(shape, accelerator, "bf16")
    curve = replace(plain_curve, sustained_fraction=0.8, droop_s=float(base))
    hot = replace(accelerator, gemm=curve)
    assert matmul_s(shape, hot, "bf16", steady=False) == pytest.approx(1.125 * base, rel=1e-12)
    assert matmul_s(shape, hot, "bf16", steady=True) == pytest.approx(1.25 * base, rel=1e-12)


def test_held_sms_slow_large_gemms_in_proportion(accelerator):
    shape = Matmul(8192.0, 8192.0, 8192.0)
    base = matmul_s(shape, accelerator, "bf16")
    # without quantisation 80 of 100 SMs take 1 / 0.8 of the time
    held = matmul_s(shape, accelerator, "bf16", free_sms_fraction=0.8)
    assert held == pytest.approx(base / 0.8, rel=1e-9)


def test_precision_sets_the_peak(accelerator):
    shape = Matmul(16384.0, 16384.0, 16384.0, element_bytes=1.0)
    slow, fast = (matmul_s(shape, accelerator, p) for p in ("bf16", "fp8"))
    assert slow / fast == pytest.approx(2.0, rel=1e-9)


def test_unknown_precision_names_what_the_device_has(accelerator):
    with pytest.raises(PlanError, match=r"round has no fp32 arithmetic[\s\S]*bf16, fp8"):
        peak_flops_per_s(accelerator, "fp32")


@given(m=SIZES, n=SIZES, k=SIZES, batch=st.integers(1, 64).map(float), steady=st.booleans())
@settings(deadline=None)
def test_never_faster_than_the_roofline(m, n, k, batch, steady):
    shape = Matmul(m, n, k, batch)
    flops_s = matmul_flops(m, n, k, batch) / (CURVE.peak_fraction * 989.4e12)
    memory_s = 2 * batch * (m * k + k * n + m * n) / 3.35e12
    time_s = matmul_s(shape, DEVICE, "bf16", steady=steady)
    assert np.isfinite(time_s)
    assert time_s >= max(flops_s, memory_s) + CURVE.launch_s


@given(m=SIZES, n=SIZES, k=SIZES, factor=st.integers(1, 4))
@settings(deadline=None)
def test_a_larger_product_is_never_faster(m, n, k, factor):
    small = matmul_s(Matmul(m, n, k), DEVICE, "bf16")
    for shape in (Matmul(m * factor, n, k), Matmul(m, n * factor, k), Matmul(m, n, k * factor)):
        # rounding of the p-norm only
        assert matmul_s(shape, DEVICE, "bf16") >= small * (1 - 1e-12)


@given(m=SIZES, n=SIZES, k=SIZES)
@settings(deadline=None)
def test_steady_is_an_upper_bound(m, n, k):
    shape = Matmul(m, n, k)
    cold, hot = (matmul_s(shape, DEVICE, "bf16", steady=s) for s in (False, True))
    assert cold <= hot


@given(rows=st.lists(st.tuples(SIZES, SIZES, SIZES), min_size=1, max_size=8), steady=st.booleans())
@settings(deadline=None)
def test_scalar_equals_row(rows, steady):
    m, n, k = np.array(rows).T
    batch = matmul_s(
        Matmul(m, n, k), DEVICE, "bf16", steady=steady, free_sms_fraction=np.full(len(rows), 0.9)
    )
    single = [
        matmul_s(Matmul(*row), DEVICE, "bf16", steady=steady, free_sms_fraction=0.9) for row in rows
    ]
    assert all(np.ndim(value) == 0 for value in single)
    # one rounding of pow: numpy's vector and scalar loops may differ in the last bit
    np.testing.assert_allclose(batch, single, rtol=1e-14)
