"""Optimizers by name: the bytes of state that each keeps per parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field, Strict

from simulator.errors import UnknownNameError
from simulator.plan import OptimizerConfig
from simulator.spec.quantity import Text
from simulator.spec.validate import Spec
from simulator.stack import Stack

BytesPerParameter = Annotated[float, Strict(), Field(ge=0, le=64, allow_inf_nan=False)]
GradientBytes = Annotated[float, Strict(), Field(gt=0, le=8, allow_inf_nan=False)]
FP32_BYTES: Final = 4.0
FP16_BYTES: Final = 2.0
FULL_PRECISION: Final = ("fp32", "tf32")
"""Precisions whose weights are fp32 themselves, so that no master copy is kept."""


@dataclass(frozen=True, slots=True)
class OptimizerState:
    """Bytes per parameter: ``state_bytes`` of moments, ``master_bytes`` of an fp32 copy."""

    state_bytes: float
    master_bytes: float


OPTIMIZERS: Final[Mapping[str, OptimizerState]] = {
    "adam": OptimizerState(8, 4),
    "adamw": OptimizerState(8, 4),
    "lamb": OptimizerState(8, 4),
    "adam8bit": OptimizerState(2, 4),
    "momentum": OptimizerState(4, 4),
    "sgd": OptimizerState(0, 4),
}
"""Optimizers of mixed-precision training.

Source: ZeRO (arXiv 1910.02054), section 3.1: mixed-precision Adam keeps an fp32 copy, momentum
and variance, K = 12 bytes per parameter; momentum 8, plain SGD 4. LAMB keeps Adam's two moments
(arXiv 1904.00962, algorithm 2). 8-bit Adam keeps both moments in one byte each (arXiv 2110.02861).
"""


class OptimizerSpec(Spec):
    """An optimizer of the table, or another one with its bytes spelled out."""

    name: Text
    state_bytes: BytesPerParameter | None = None
    master_bytes: BytesPerParameter | None = None
    gradient_bytes: GradientBytes | None = None
    gradient_reduce_bytes: GradientBytes | None = None


def optimizer_config(
    spec: OptimizerSpec, precision: str, stack: Stack, where: str
) -> OptimizerConfig:
    """The optimizer with every number filled in.

    Gradient types that are not given are those of the stack; in fp32 training they are fp32, and
    there is no master copy; in fp16 training some stacks keep and reduce them in fp16.

    Raises:
        UnknownNameError: if the name is not in the table and ``state_bytes`` is not given.
    """
    known = OPTIMIZERS.get(spec.name.lower())
    if known is None:
        if spec.state_bytes is None:
            raise UnknownNameError.of("optimizer", spec.name, OPTIMIZERS, where=where)
        known = OptimizerState(spec.state_bytes, FP32_BYTES)
    full = precision in FULL_PRECISION
    in_fp16 = precision == "fp16" and stack.fp16_gradients
    defaults = (
        (known.state_bytes, 0.0, FP32_BYTES, FP32_BYTES)
        if full
        else (
            known.state_bytes,
            known.master_bytes,
            FP16_BYTES if in_fp16 else stack.gradient_bytes,
            FP16_BYTES if in_fp16 else stack.gradient_reduce_bytes,
        )
    )
    given = (
        spec.state_bytes,
        spec.master_bytes,
        spec.gradient_bytes,
        spec.gradient_reduce_bytes,
    )
    state, master, gradient, reduce = (
        default if value is None else value for value, default in zip(given, defaults, strict=True)
    )
    return OptimizerConfig(spec.name.lower(), state, master, gradient, reduce)
