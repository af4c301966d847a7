"""Fused (flash) attention: one kernel for the whole attention core.

Attention without a fused kernel is two batched GEMMs and a softmax, priced by ``compute`` and
``memory_bound``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from simulator.errors import PlanError
from simulator.machine import Accelerator, Assumption, AttentionCurve
from simulator.numeric import Numeric

_QUERY_TILE: Final = 128.0
"""Queries one block of the grid works on (flash-attention: 128 for most head sizes)."""
BACKWARD_FLOPS: Final = 2.5
"""Five products against two. Source: FlashAttention-2 (arXiv 2307.08691), section 4.1."""
_BACKWARD_RATE: Final = 0.88
"""Backward over forward FLOP/s: FA2 A100 0.89, FA2 H100 0.87, FA3 H100 0.87, FA4 B200 0.89.

Source: speed figures in the README and assets of Dao-AILab/flash-attention and the FA3 paper.
"""
_BACKWARD_KERNELS: Final = 2.0
"""The products, and before them the row sums of output times its gradient."""
_SMALL_HEAD_EXPONENT: Final = 0.2
"""F ~ head_dim^0.2 below the smallest measured: half the head keeps 0.87 of the rate.

Source: FA2 on A100, 16k tokens: 176 TFLOP/s at head_dim 64, 203 at 128.
"""
_HEAD_STEP: Final = 32
"""Kernels exist for multiples of this head size; others are padded up."""
_GENERATIONS: Final = ("flash1", "flash2", "flash3")


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """Softmax(Q K^T) V for ``batch`` sequences and ``heads`` query heads.

    Attributes:
        key_tokens: keys, of which the last ``query_tokens`` are the queries' own positions.
        window: keys a query may see, its own included; None for all.
    """

    batch: Numeric
    heads: Numeric
    query_tokens: Numeric
    key_tokens: Numeric
    head_dim: int
    causal: bool = True
    window: Numeric | None = None


def attention_pairs(shape: AttentionShape) -> Numeric:
    """Query-key pairs of one head, s^2 / 2 for causal attention (the diagonal counts half).

    With a window w: causal, the integral of min(x, w) over the positions of the queries;
    otherwise every query sees min(keys, w).
    """
    window = math.inf if shape.window is None else shape.window
    queries, keys = shape.query_tokens, shape.key_tokens
    if not shape.causal:
        return queries * np.minimum(keys, window)
    return _pairs_before(keys, window) - _pairs_before(keys - queries, window)


def attention_flops(shape: AttentionShape) -> Numeric:
    """Forward FLOPs: 4 d per pair (two products), 4 b h d s^2 without a mask, half if causal."""
    return 4.0 * shape.batch * shape.heads * shape.head_dim * attention_pairs(shape)


def flash_attention_s(
    shape: AttentionShape, curve: AttentionCurve, num_sms: int, *, backward: bool
) -> Numeric:
    """Time of the kernel: t0 + 4 b h d (pairs + overhead pairs) Wq / F; backward 2.5 / 0.88 times.

    Every query pays the time of sh / 2 keys on top of those it sees, so that the rate of causal
    attention is F / (1 + sh / s). Wq is the loss from blocks that do not fill the last wave, of
    which a share q shows.

    Args:
        shape: what is computed; its fields broadcast against one another.
        curve: of this kernel, accelerator and head size, see ``attention_curve``.
        num_sms: of the accelerator.
        backward: the backward kernels instead of the forward one.

    Source: fitted on causal forward tables of NVIDIA ai-dynamo/aiconfigurator.
    Assumes: a query tile on the diagonal computes in full, which adds half a tile of keys.
    Error: 8-11 % mean on those tables (docs/kernels.md).
    """
    queries = shape.query_tokens
    diagonal = _QUERY_TILE if shape.causal else 0.0
    overhead = 0.5 * (diagonal * queries + curve.ramp_tokens * (queries + diagonal))
    pairs = attention_pairs(shape) + overhead
    waves = shape.batch * shape.heads * np.ceil(queries / _QUERY_TILE) / num_sms
    q = curve.wave_quantisation
    # fewer blocks than SMs take as long as a full wave
    loss = np.maximum((1.0 - q) * waves + q * np.ceil(waves), 1.0) / waves
    flops = 4.0 * shape.batch * shape.heads * shape.head_dim * pairs
    busy_s = flops * loss / curve.forward_flops_per_s
    if backward:
        return _BACKWARD_KERNELS * curve.launch_s + busy_s * (BACKWARD_FLOPS / _BACKWARD_RATE)
    return curve.launch_s + busy_s


def attention_curve(
    accelerator: Accelerator, kernel: str, head_dim: int
) -> tuple[AttentionCurve, Assumption | None]:
    """The curve of a kernel at a head size, and what had to be assumed to get it.

    A kernel without a curve on this accelerator is replaced by the next older one it has, else
    by the next newer. A head size is padded to a multiple of 32, as the kernels do, and its rate
    interpolated between the measured sizes (linear in log head_dim); beyond the largest it is
    held, below the smallest it falls as head_dim^0.2. The other constants are those of the
    nearest measured size.

    Raises:
        PlanError: if the accelerator has no fused attention kernel at all.
    """
    used = _available_kernel(accelerator, kernel)
    curves = accelerator.attention[used]
    exact = curves.get(head_dim)
    if exact is not None and used == kernel:
        return exact, None
    curve = exact or _at_head_dim(tuple(sorted(curves.items())), head_dim)
    measured = ", ".join(map(str, sorted(curves)))
    return curve, Assumption(
        f"attention kernel {kernel}, head_dim {head_dim} on {accelerator.name}",
        f"{used}, measured at head_dim {measured}: {curve.forward_flops_per_s / 1e12:.0f} TFLOP/s",
        "nearest measured kernel and head size",
    )


def _pairs_before(position: Numeric, window: Numeric) -> Numeric:
    """Pairs of the causal queries before a position: p^2 / 2, and w p - w^2 / 2 past the window."""
    seen = np.minimum(position, window)
    return seen * (position - 0.5 * seen)


def _available_kernel(accelerator: Accelerator, kernel: str) -> str:
    """``kernel``, or its nearest older, else nearest newer relative on this accelerator."""
    wanted = _GENERATIONS.index(kernel)
    older_first = (*_GENERATIONS[wanted::-1], *_GENERATIONS[wanted + 1 :])
    for name in older_first:
        if accelerator.attention.get(name):
            return name
    raise PlanError(
        f"{accelerator.name} has no measured fused attention kernel (wanted {kernel})",
        where="stack.attention",
        hint="use attention: unfused, or give the accelerator an attention curve",
    )


def _at_head_dim(curves: tuple[tuple[int, AttentionCurve], ...], head_dim: int) -> AttentionCurve:
    """The curve at a head size that was not measured; ``curves`` ascend in head size."""
    padded = math.ceil(head_dim / _HEAD_STEP) * _HEAD_STEP
    dims = [dim for dim, _ in curves]
    rates = [curve.forward_flops_per_s for _, curve in curves]
    rate = float(np.interp(math.log(padded), np.log(dims), rates))
    rate *= min(1.0, padded / dims[0]) ** _SMALL_HEAD_EXPONENT
    _, nearest = min(curves, key=lambda item: abs(math.log(item[0] / padded)))
    # useful FLOPs only: the padding is computed, too
    return replace(nearest, forward_flops_per_s=rate * head_dim / padded)
