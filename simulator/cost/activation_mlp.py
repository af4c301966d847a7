"""Tensors that the MLP or the experts of a layer hold from forward to backward."""

from __future__ import annotations

from simulator.cost.footprint import FP32_BYTES
from simulator.cost.microbatch import ActivationItem, MicrobatchShape
from simulator.model import TransformerConfig
from simulator.numeric import Numeric
from simulator.stack import Stack


def dense_mlp_items(
    model: TransformerConfig, shape: MicrobatchShape, stack: Stack
) -> tuple[ActivationItem, ...]:
    """Those of a dense layer."""
    inner = shape.tokens * model.ffn_hidden_size / shape.tp
    return _mlp_items(model, shape, stack, inner, "mlp")


def _mlp_items(
    model: TransformerConfig, shape: MicrobatchShape, stack: Stack, inner: Numeric, name: str
) -> tuple[ActivationItem, ...]:
    """Input of the activation function and of the second linear, ``inner`` elements each.

    A gated MLP has two inputs, gate and up; without a fused kernel the activated gate is held,
    too.
    """
    held = shape.element_bytes * inner
    second = ActivationItem(
        f"{name}.projection_input", shape.linear_input_bytes * inner, elementwise=True
    )
    if not model.gated_mlp:
        return (ActivationItem(f"{name}.activation_input", held), second)
    gate_and_up = ActivationItem(f"{name}.gate_and_up", 2 * held)
    if stack.fused_bias_gelu:
        return (gate_and_up, second)
    return (
        gate_and_up,
        ActivationItem(f"{name}.activated_gate", held, elementwise=True),
        second,
    )


def expert_items(
    model: TransformerConfig, shape: MicrobatchShape, stack: Stack
) -> tuple[ActivationItem, ...]:
    """What router, dispatch, experts and combine hold; experts see k times the tokens.

    The input of experts that are cut over tp is whole, as their first linear needs it.

    Source: NVIDIA/Megatron-LM, core/transformer/moe/router.py (fp32 scores) and experts.py: the
        router's probabilities multiply the activated tokens (``weighted_bias_swiglu_impl``), so
        that what the experts return is only summed, and not held. Before 2025 it was held: 2 bytes
        for every visit and element.
    """
    hidden, visits = model.hidden_size, routed_tokens(model, shape)
    own_visits = visits / shape.tp if shape.sequence_parallel else visits
    seen = visits if shape.cuts_experts else own_visits
    inner = visits * model.expert_ffn_hidden_size / shape.tp
    scores = FP32_BYTES * shape.norm_tokens * model.num_experts
    items = (
        ActivationItem("router.scores", scores, elementwise=True),
        ActivationItem("experts.linear_input", shape.linear_input_bytes * seen * hidden),
        *_mlp_items(model, shape, stack, inner, "experts"),
    )
    shared = shape.tokens * model.shared_expert_ffn_hidden_size / shape.tp
    if not model.shared_expert_ffn_hidden_size:
        return items
    return (*items, *_mlp_items(model, shape, stack, shared, "shared_expert"))


def routed_tokens(model: TransformerConfig, shape: MicrobatchShape) -> Numeric:
    """Visits of a microbatch's tokens to experts, over all of tp: k s b times capacity factor."""
    return shape.tokens * model.top_k * shape.capacity_factor
