"""An accelerator with round figures, so that expected times can be worked by hand."""

import pytest

from simulator.cost.memory_bound import CURVE_KEYS
from simulator.machine import Accelerator, AttentionCurve, GemmCurve, MemoryCurve


@pytest.fixture
def plain_curve() -> GemmCurve:
    """No overheads at all: time is the larger of compute and memory (p is huge)."""
    return GemmCurve(
        peak_fraction=0.5,
        sustained_fraction=1.0,
        droop_s=1.0,
        launch_s=0.0,
        tile_s=0.0,
        wave_quantisation=0.0,
        bandwidth_fraction=0.5,
        overlap_exponent=64.0,
        small_tile_penalty=0.0,
        split_s=1.0,
    )


@pytest.fixture
def attention_curve_128() -> AttentionCurve:
    return AttentionCurve(400e12, 512.0, 1e-5, 0.0)


@pytest.fixture
def accelerator(plain_curve: GemmCurve, attention_curve_128: AttentionCurve) -> Accelerator:
    """100 SMs, 1 PFLOP/s, 1 TB/s."""
    return Accelerator(
        name="round",
        architecture="none",
        num_sms=100,
        peak_flops_per_s={"bf16": 1e15, "fp8": 2e15},
        memory_bytes=80e9,
        memory_bandwidth_bytes_per_s=1e12,
        l2_bytes=50e6,
        power_w=700.0,
        gemm=plain_curve,
        attention={
            "flash2": {
                64: AttentionCurve(300e12, 600.0, 1e-5, 1.0),
                128: attention_curve_128,
            }
        },
        memory=MemoryCurve(2e-6, dict.fromkeys(CURVE_KEYS, 0.5)),
    )
