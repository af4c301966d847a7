"""Time of the optimizer step on the device, and of what a stack moves beside it."""

from __future__ import annotations

from simulator.cost.memory_bound import elementwise_s, memory_bound_s
from simulator.numeric import Numeric
from simulator.workload.price import PriceContext

ADAM_STATE_BYTES = 12.0
"""Moments (8) and master weights (4) of one parameter, of which a stack's figure is."""


def optimizer_s(
    parameters: Numeric,
    owned: Numeric,
    context: PriceContext,
    *,
    state_bytes: float,
    has_replicas: bool,
    quantises: bool,
) -> Numeric:
    """Seconds of one optimizer step of a rank: bytes of the owned parameters over DRAM bandwidth.

    Args:
        parameters: that the rank holds, before sharding.
        owned: of which it holds the states.
        context: where it runs.
        state_bytes: moments and master weights of one parameter, each read and written.
        has_replicas: gradients are reduced, so that ``stack.gradient_copy_bytes`` move.
        quantises: every rank casts the weights it computes with to fp8.

    Source: NVIDIA/apex, multi_tensor_adam.cu; NVIDIA/TransformerEngine, ``is_first_microbatch``.
    """
    stack, accelerator = context.stack, context.accelerator
    per_parameter = stack.optimizer_bytes_per_parameter + 2 * (state_bytes - ADAM_STATE_BYTES)
    seconds = memory_bound_s(owned * per_parameter, "adam_fused", accelerator)
    if stack.gradient_copy_bytes and has_replicas:
        copied = parameters * stack.gradient_copy_bytes
        seconds = seconds + memory_bound_s(copied, "copy", accelerator)
    if quantises:
        seconds = seconds + elementwise_s("quantise", parameters, 2.0, accelerator)
    return seconds * stack.memory_scale
