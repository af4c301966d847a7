"""Optimizers by name: the bytes of state that each keeps per parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field, Strict

from simulator.errors import PlanError, UnknownNameError
from simulator.plan import OptimizerConfig, StateForm
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
    """Bytes per parameter: ``state_bytes`` of moments, ``master_bytes`` of an fp32 copy.

    The other fields are those of ``OptimizerConfig``.
    """

    state_bytes: float
    master_bytes: float
    form: StateForm = "full"
    rank: int = 0
    svd_every: int = 0
    weight_bytes: float | None = None


INT8_BYTES: Final = 1.0 + 4.0 / 128
"""An int8 weight, and a 16-bit scale and offset for every 128 of them.

Source: APOLLO's scripts (``--weight_group_size 128``), after Q-GaLore (arXiv 2407.08296).
"""


OPTIMIZERS: Final[Mapping[str, OptimizerState]] = {
    "adam": OptimizerState(8, 4),
    "adamw": OptimizerState(8, 4),
    "lamb": OptimizerState(8, 4),
    "adam8bit": OptimizerState(2, 4),
    "momentum": OptimizerState(4, 4),
    "sgd": OptimizerState(0, 4),
    "adafactor": OptimizerState(4, 4, "factored"),
    "galore": OptimizerState(4, 0, "galore", 1024, 200),
    "apollo": OptimizerState(4, 0, "apollo", 256),
    "apollo-mini": OptimizerState(4, 0, "apollo", 1),
    "q-galore": OptimizerState(2, 0, "galore", 1024, 200, INT8_BYTES),
    "q-apollo": OptimizerState(4, 0, "apollo", 256, 0, INT8_BYTES),
    "q-apollo-mini": OptimizerState(4, 0, "apollo", 1, 0, INT8_BYTES),
}
"""Optimizers of mixed-precision training.

Source: ZeRO (arXiv 1910.02054), section 3.1: mixed-precision Adam keeps an fp32 copy, momentum
and variance, K = 12 bytes per parameter; momentum 8, plain SGD 4. LAMB keeps Adam's two moments
(arXiv 1904.00962, algorithm 2). 8-bit Adam keeps both moments in one byte each (arXiv 2110.02861).
Adafactor keeps one fp32 row and column of a matrix and no momentum (arXiv 1804.04235). GaLore
(arXiv 2403.03507; rank 1,024 at 7B, projections every 200 steps) and APOLLO (arXiv 2412.05270)
train in bf16 throughout: moments, gradients and weights, without a master copy.
"""

IN_16_BITS: Final = ("galore", "apollo")
"""Forms whose gradients are those of autograd, in the weights' own type."""


class OptimizerSpec(Spec):
    """An optimizer of the table, or another one with its bytes spelled out."""

    name: Text
    state_bytes: BytesPerParameter | None = None
    master_bytes: BytesPerParameter | None = None
    gradient_bytes: GradientBytes | None = None
    gradient_reduce_bytes: GradientBytes | None = None
    rank: Annotated[int, Strict(), Field(ge=1, le=65_536)] | None = None
    svd_every: Annotated[int, Strict(), Field(ge=1, le=10**9)] | None = None
    weight_bytes: GradientBytes | None = None


def optimizer_config(
    spec: OptimizerSpec, precision: str, stack: Stack, where: str
) -> OptimizerConfig:
    """The optimizer with every number filled in.

    Gradient types that are not given are those of the stack; in fp32 training they are fp32, and
    there is no master copy; in fp16 training some stacks keep and reduce them in fp16.

    Raises:
        UnknownNameError: if the name is not in the table and ``state_bytes`` is not given.
        PlanError: if a rank is given to an optimizer that has none, or another one.
    """
    known = OPTIMIZERS.get(spec.name.lower())
    if known is None:
        if spec.state_bytes is None:
            raise UnknownNameError.of("optimizer", spec.name, OPTIMIZERS, where=where)
        known = OptimizerState(spec.state_bytes, FP32_BYTES)
    _check_rank(spec, known, where)
    full = precision in FULL_PRECISION
    in_fp16 = known.form in IN_16_BITS or (precision == "fp16" and stack.fp16_gradients)
    scale = 2.0 if full and known.form in IN_16_BITS else 1.0
    defaults = (
        (known.state_bytes * scale, 0.0, FP32_BYTES, FP32_BYTES)
        if full
        else (
            known.state_bytes,
            known.master_bytes,
            FP16_BYTES if in_fp16 else stack.gradient_bytes,
            FP16_BYTES if in_fp16 else stack.gradient_reduce_bytes,
        )
    )
    given = (spec.state_bytes, spec.master_bytes, spec.gradient_bytes, spec.gradient_reduce_bytes)
    state, master, gradient, reduce = (
        default if value is None else value for value, default in zip(given, defaults, strict=True)
    )
    return OptimizerConfig(
        spec.name.lower(),
        state,
        master,
        gradient,
        reduce,
        form=known.form,
        rank=known.rank if spec.rank is None else spec.rank,
        svd_every=known.svd_every if spec.svd_every is None else spec.svd_every,
        weight_bytes=known.weight_bytes if spec.weight_bytes is None else spec.weight_bytes,
    )


def _check_rank(spec: OptimizerSpec, known: OptimizerState, where: str) -> None:
    fixed = known.rank if known.rank == 1 else None
    if spec.rank is not None and (known.rank == 0 or fixed not in (None, spec.rank)):
        what = f"is apollo of rank {fixed}" if fixed else "has no rank"
        raise PlanError(
            f"rank {spec.rank} given to optimizer {spec.name}, which {what}",
            where=f"{where}.rank",
            hint="leave it out, or take galore or apollo",
        )
    if spec.svd_every is not None and known.svd_every == 0:
        raise PlanError(
            f"svd_every {spec.svd_every} given to optimizer {spec.name}, which decomposes nothing",
            where=f"{where}.svd_every",
            hint="leave it out, or take galore",
        )
