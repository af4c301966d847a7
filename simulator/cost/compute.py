"""Matrix products: how long a GEMM takes on one accelerator, from its measured curve.

A GEMM is cut into tiles, and tiles into waves over the SMs; one wave costs the arithmetic of a
tile plus its prologue. Compute time and DRAM time overlap imperfectly (a p-norm), and long
kernels slow down when the chip reaches its power limit. The library is taken to pick the best
tile and split-K, so both are minimised over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.errors import PlanError
from simulator.machine import Accelerator, GemmCurve
from simulator.numeric import FloatArray, Numeric

_TILES: Final = np.array(
    [
        (256, 128),
        (128, 256),
        (128, 128),
        (128, 64),
        (64, 128),
        (64, 64),
        (192, 128),
        (128, 192),
        (256, 64),
        (64, 256),
    ],
    dtype=np.float64,
)
_TILE_M: Final = _TILES[:, :1]
_TILE_N: Final = _TILES[:, 1:]
_TILE_AREA: Final = _TILE_M * _TILE_N
_EXTRA_TRAFFIC: Final = (_TILE_M + _TILE_N) / _TILE_AREA * (256.0 * 128.0 / 384.0) - 1.0
"""Operand bytes per FLOP of a tile over those of 256x128, minus one. [tiles, 1]."""
_SPLITS: Final = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
"""Ways along k among which the library chooses. [splits]."""
_IS_SPLIT: Final = (_SPLITS > 1.0).astype(np.float64)
_K_STEP: Final = 64.0
"""Depth of a tile's main loop: k is padded to a multiple of it."""
_PARTIAL_SUM_BYTES: Final = 8.0
"""A split writes and reads one fp32 partial sum per output element."""


@dataclass(frozen=True, slots=True)
class Matmul:
    """``batch`` products of [m, k] by [k, n].

    Attributes:
        element_bytes: of both inputs, ``out_bytes``: of the output (4 where it is accumulated
            in fp32).
    """

    m: Numeric
    n: Numeric
    k: Numeric
    batch: Numeric = 1.0
    element_bytes: float = 2.0
    out_bytes: float = 2.0


def matmul_flops(m: Numeric, n: Numeric, k: Numeric, batch: Numeric = 1.0) -> Numeric:
    """2 b m n k: one multiplication and one addition per term."""
    return 2.0 * batch * m * n * k


def peak_flops_per_s(accelerator: Accelerator, precision: str) -> float:
    """Dense peak of one precision.

    Raises:
        PlanError: if the accelerator has no peak for ``precision``.
    """
    peaks = accelerator.peak_flops_per_s
    if precision not in peaks:
        raise PlanError(
            f"{accelerator.name} has no {precision} arithmetic",
            where="training.precision",
            hint=f"its precisions are {', '.join(sorted(peaks))}",
        )
    return peaks[precision]


def matmul_s(
    shape: Matmul,
    accelerator: Accelerator,
    precision: str,
    *,
    steady: bool = True,
    free_sms_fraction: Numeric = 1.0,
) -> Numeric:
    """Time of a GEMM kernel: t0 + D(min over splits [(Tc^p + Tm^p)^(1/p) + ts [split]]).

    Tc is the compute time of the best tile, Tm the DRAM time, D the power droop. The tile only
    changes Tc, so its minimum is taken first.

    Args:
        shape: the product; its fields broadcast against one another.
        accelerator: peak, bandwidth and ``GemmCurve`` constants.
        precision: a key of ``accelerator.peak_flops_per_s``.
        steady: the chip has reached its sustained clock, as it does in a training step; False
            lets the droop depend on this kernel's own duration, as in a microbenchmark.
        free_sms_fraction: share of the SMs that no communication kernel holds.

    Source: the form is a roofline with tile and wave quantisation (NVIDIA, "Matrix
        Multiplication Background User's Guide"); partial quantisation and droop were added
        because power-limited parts need them. Fitted on the GEMM tables of NVIDIA
        ai-dynamo/aiconfigurator.
    Assumes: constants fitted on bf16 hold for the other precisions of the same chip, but for the
        share of the peak (``GemmCurve.precision_fraction``, of fp8 fitted on hot products).
    Error: 4-8 % mean absolute error on held-out shapes with steady=False (docs/kernels.md);
        another driver, power cap or cuBLAS moves all shapes together, by 6-13 % on A100 and
        H100 in independent tables, which is what ``Stack.gemm_scale`` is for.

    Raises:
        PlanError: if the accelerator has no peak for ``precision``.
    """
    curve = accelerator.gemm
    peak = peak_flops_per_s(accelerator, precision) * curve.precision_fraction.get(precision, 1.0)
    compute_s = _compute_s(shape, accelerator, peak, free_sms_fraction)
    memory_s = _memory_s(shape, accelerator)
    p = curve.overlap_exponent
    joined_s = (compute_s**p + memory_s**p) ** (1.0 / p) + curve.split_s * _IS_SPLIT
    return curve.launch_s + _drooped_s(joined_s.min(axis=-1), curve, steady=steady)


def matmul_dram_s(shape: Matmul, accelerator: Accelerator) -> Numeric:
    """Time of a product's DRAM traffic alone: inputs and output once, over what GEMMs reach."""
    return _memory_s(shape, accelerator)[..., 0]


def _compute_s(
    shape: Matmul, accelerator: Accelerator, peak: float, free_sms_fraction: Numeric
) -> FloatArray:
    """Tc of the best tile: W (2 bm bn ceil64(k/s) SMs / (e peak eps) + tc). [..., splits].

    W = waves, of which a share q counts in full (ceil): when SMs idle in the last wave, the
    others clock higher on parts that are limited by power.
    """
    curve = accelerator.gemm
    tiles = _cells(shape.batch) * np.ceil(_cells(shape.m) / _TILE_M)
    tiles = tiles * np.ceil(_cells(shape.n) / _TILE_N)
    waves = tiles * _SPLITS / (accelerator.num_sms * _cells(free_sms_fraction))
    q = curve.wave_quantisation
    # fewer tiles than SMs still take the time of one tile
    waves = np.maximum((1.0 - q) * waves + q * np.ceil(waves), 1.0)
    depth = np.ceil(_cells(shape.k) / _SPLITS / _K_STEP) * _K_STEP
    slowdown = 1.0 + curve.small_tile_penalty * _EXTRA_TRAFFIC
    sm_flops_per_s = curve.peak_fraction * peak / accelerator.num_sms
    tile_s = 2.0 * _TILE_AREA * slowdown / sm_flops_per_s * depth + curve.tile_s
    return (waves * tile_s).min(axis=-2)


def _memory_s(shape: Matmul, accelerator: Accelerator) -> FloatArray:
    """Tm: inputs and output once through DRAM, and fp32 partial sums when split. [..., splits]."""
    m, n, k, batch = (
        np.asarray(size, dtype=np.float64)[..., None]
        for size in (shape.m, shape.n, shape.k, shape.batch)
    )
    inputs = shape.element_bytes * k * (m + n)
    outputs = m * n * (shape.out_bytes + _PARTIAL_SUM_BYTES * _SPLITS * _IS_SPLIT)
    bandwidth = accelerator.gemm.bandwidth_fraction * accelerator.memory_bandwidth_bytes_per_s
    return batch * (inputs + outputs) / bandwidth


def _drooped_s(busy_s: FloatArray, curve: GemmCurve, *, steady: bool) -> FloatArray:
    """D(T): T / rs once the chip is hot, else T (1 + x / (1 + x) (1 / rs - 1)) with x = T / tau."""
    if steady:
        return busy_s / curve.sustained_fraction
    x = busy_s / curve.droop_s
    return busy_s * (1.0 + x / (1.0 + x) * (1.0 / curve.sustained_fraction - 1.0))


def _cells(value: Numeric) -> FloatArray:
    """``value`` with two new axes, to broadcast against [tiles, splits]."""
    return np.asarray(value, dtype=np.float64)[..., None, None]
