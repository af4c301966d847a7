"""Square products that strangers measured with PyTorch on cards without a table of shapes.

Source: zzc0721/torch-performance-test-data@bbb8e247, database.md: best rate of 30 products of
normally distributed fp16 matrices of 1024 to 10240 rows; mli/transformers-benchmarks@19fe7896,
matmul.ipynb: 50 products of 8192 rows.
"""

from __future__ import annotations

import pytest

from simulator.cost.compute import Matmul, matmul_flops, matmul_s
from simulator.spec.catalogue import load_accelerator


def _best_flops_per_s(accelerator: str) -> float:
    """Best rate over the sizes of the script, at the sustained clock."""
    card = load_accelerator(accelerator)
    return max(
        float(matmul_flops(size, size, size) / matmul_s(Matmul(size, size, size), card, "fp16"))
        for size in (1024, 2048, 4096, 8192, 10240)
    )


@pytest.mark.parametrize(
    ("accelerator", "measured", "tolerance"),
    [
        # Fitted on: the sustained clock of V100 lies between 94.84 and 96.0 / 95 of its squares.
        ("v100-sxm2-32gb", (94.84, 96.0), 0.02),
        ("rtx3090-24gb", (75.64, 75.88, 75.48), 0.01),
        ("rtx4090-24gb", (165.08, 171.06, 162.35, 167.80, 165.94), 0.01),
        # Not fitted on: in the quarter of a second that the script takes the clock of an A100 has
        # not fallen all the way, nor had that of the container in the cloud (247.63).
        ("a100-sxm4-80gb", (258.74, 247.63), 0.05),
    ],
)
def test_the_best_square_reaches_the_mean_of_the_published_rates(
    accelerator: str, measured: tuple[float, ...], tolerance: float
) -> None:
    mean = sum(measured) / len(measured)
    assert _best_flops_per_s(accelerator) / 1e12 == pytest.approx(mean, rel=tolerance)


def test_a_consumer_card_loses_as_much_on_small_squares_as_a_3090_ti() -> None:
    # mli/transformers-benchmarks@04df81d0, micro_bench.ipynb: 81.3 TFLOP/s at 8192, 71.5 at 2048.
    card = load_accelerator("rtx3090-24gb")
    large, small = (
        float(matmul_flops(size, size, size) / matmul_s(Matmul(size, size, size), card, "fp16"))
        for size in (8192, 2048)
    )
    # 82 SMs instead of 84 take another number of waves: 128 tiles of 256x128 in 1.56 and 1.52.
    assert small / large == pytest.approx(71.5 / 81.3, abs=0.06)


def test_a_power_limited_v100_clocks_with_the_cube_root_of_its_power() -> None:
    # (163 - 42) W / (300 - 42) W = 0.469, whose cube root is 0.777.
    limited, full = _best_flops_per_s("v100-sxm2-32gb-ls"), _best_flops_per_s("v100-sxm2-32gb")
    assert limited / full == pytest.approx((121 / 258) ** (1 / 3), rel=0.005)
