"""Fits the curves of an accelerator: matrix products, fused attention, memory-bound kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Final

import numpy as np

from simulator.calibrate.fit_curve import Constant, CurveFit, fit_curve
from simulator.calibrate.microbench import Columns
from simulator.cost.attention import AttentionShape, attention_curve, flash_attention_s
from simulator.cost.compute import Matmul, matmul_s
from simulator.cost.memory_bound import CURVE_KEYS
from simulator.errors import PlanError, SpecError
from simulator.machine import Accelerator, AttentionCurve, GemmCurve
from simulator.numeric import FloatArray
from simulator.progress import Progress, silent

_GEMM_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "peak_fraction": (0.2, 1.0),
    "sustained_fraction": (0.3, 1.0),
    "droop_s": (1e-5, 1.0),
    "launch_s": (1e-7, 1e-4),
    "tile_s": (1e-8, 1e-4),
    "wave_quantisation": (1e-3, 1.0),
    "bandwidth_fraction": (0.2, 1.0),
    "overlap_exponent": (1.0, 12.0),
    "small_tile_penalty": (1e-3, 10.0),
    "split_s": (1e-8, 1e-4),
}
"""Field of ``GemmCurve`` -> what is physical."""
_ATTENTION_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "forward_flops_per_s": (1e12, 1e16),
    "ramp_tokens": (1.0, 1e4),
    "launch_s": (1e-7, 1e-3),
    "wave_quantisation": (1e-3, 1.0),
}
_GENERATIONS: Final = ("flash1", "flash2", "flash3")
_DIRECTIONS: Final[Mapping[str, tuple[bool, ...]]] = {
    "forward": (False,),
    "backward": (True,),
    "both": (False, True),
}
_CAUSAL: Final[Mapping[str, bool]] = {
    "1": True,
    "true": True,
    "causal": True,
    "0": False,
    "false": False,
    "full": False,
}
_MAX_ROWS: Final = 2000
"""Rows of one curve that are used, evenly spaced: more do not change ten constants."""


def fit_gemm(
    data: Columns, accelerator: Accelerator, progress: Progress = silent
) -> tuple[CurveFit, GemmCurve]:
    """The ``GemmCurve`` of columns m, n, k, time_us and, if given, precision."""
    data = data.thinned(_MAX_ROWS)
    shape = Matmul(data.numbers("m"), data.numbers("n"), data.numbers("k"))
    default = "bf16" if "bf16" in accelerator.peak_flops_per_s else "fp16"
    known = accelerator.peak_flops_per_s
    precisions = np.array(data.words("precision", default, known))
    base = accelerator.gemm
    constants = [
        Constant(field.name, getattr(base, field.name), *_GEMM_BOUNDS[field.name])
        for field in fields(GemmCurve)
        if field.name in _GEMM_BOUNDS
    ]

    def predict(values: Mapping[str, float]) -> FloatArray:
        device = replace(accelerator, gemm=replace(base, **values))
        # microbenchmarks pause between kernels, so the droop depends on the kernel's length
        found = np.zeros(precisions.size)
        for precision in dict.fromkeys(precisions.tolist()):
            seconds = np.asarray(matmul_s(shape, device, precision, steady=False))
            found = np.where(precisions == precision, seconds, found)
        return found

    fit = fit_curve("gemm", constants, predict, data.seconds(), progress)
    return fit, replace(base, **fit.values)


def fit_attention(
    data: Columns, accelerator: Accelerator, progress: Progress = silent
) -> dict[tuple[str, int], tuple[CurveFit, AttentionCurve]]:
    """One ``AttentionCurve`` per kernel and head size that occurs.

    Columns kernel, head_dim, batch, heads, tokens, time_us and, if given, causal (1 or 0, causal
    or full) and direction (forward, backward or both).
    """
    found: dict[tuple[str, int], tuple[CurveFit, AttentionCurve]] = {}
    kernels = data.words("kernel", "", _GENERATIONS, "attention kernel")
    keys = list(zip(kernels, data.whole("head_dim"), strict=True))
    for (kernel, size), rows in data.split(keys).items():
        few = rows.thinned(_MAX_ROWS)
        found[kernel, size] = _attention(kernel, size, few, accelerator, progress)
    return found


def _attention(
    kernel: str, head_dim: int, data: Columns, accelerator: Accelerator, progress: Progress
) -> tuple[CurveFit, AttentionCurve]:
    batch, heads, tokens = (data.numbers(name) for name in ("batch", "heads", "tokens"))
    causal = np.array([_CAUSAL[word] for word in data.words("causal", "1", _CAUSAL)])
    directions = np.array(data.words("direction", "forward", _DIRECTIONS))
    base = _base_curve(accelerator, kernel, head_dim)
    constants = [
        Constant(field.name, getattr(base, field.name), *_ATTENTION_BOUNDS[field.name])
        for field in fields(AttentionCurve)
    ]

    def predict(values: Mapping[str, float]) -> FloatArray:
        curve = AttentionCurve(**values)
        found = np.zeros(tokens.size)
        for mask in (True, False):
            shape = AttentionShape(batch, heads, tokens, tokens, head_dim, causal=mask)
            for name, passes in _DIRECTIONS.items():
                rows = (causal == mask) & (directions == name)
                if rows.any():
                    seconds = np.zeros(tokens.size)
                    for backward in passes:
                        seconds = seconds + flash_attention_s(
                            shape, curve, accelerator.num_sms, backward=backward
                        )
                    found = np.where(rows, seconds, found)
        return found

    name = f"attention {kernel} {head_dim}"
    fit = fit_curve(name, constants, predict, data.seconds(), progress)
    return fit, AttentionCurve(**fit.values)


def _base_curve(accelerator: Accelerator, kernel: str, head_dim: int) -> AttentionCurve:
    """Where the fit starts: the accelerator's own curve, or half of its peak."""
    try:
        return attention_curve(accelerator, kernel, head_dim)[0]
    except PlanError:
        peaks = accelerator.peak_flops_per_s
        return AttentionCurve(0.5 * (peaks.get("bf16") or peaks["fp16"]), 300.0, 1e-5, 0.5)


def fit_memory(
    data: Columns, accelerator: Accelerator, progress: Progress = silent
) -> tuple[CurveFit, dict[str, float]]:
    """``launch_s`` and the bandwidth fraction of every kind of kernel that was measured.

    Columns kernel (one of ``CURVE_KEYS``), bytes, time_us. Kinds without a measurement keep the
    fraction they have.
    """
    data = data.thinned(_MAX_ROWS)
    kernels = np.array(data.words("kernel", "", CURVE_KEYS))
    measured = list(dict.fromkeys(kernels.tolist()))
    if not measured:
        raise SpecError("there is no measurement", where=data.where)
    num_bytes = data.numbers("bytes")
    base = accelerator.memory
    constants = [
        Constant("launch_s", base.launch_s, 1e-7, 1e-4),
        *(Constant(name, base.fraction[name], 0.02, 1.0) for name in measured),
    ]

    def predict(values: Mapping[str, float]) -> FloatArray:
        fraction = np.array([values[name] for name in kernels.tolist()])
        bandwidth = fraction * accelerator.memory_bandwidth_bytes_per_s
        return values["launch_s"] + num_bytes / bandwidth

    fit = fit_curve("memory_bound", constants, predict, data.seconds(), progress)
    return fit, {**base.fraction, **{name: fit.values[name] for name in measured}}
