"""Bytes of activations that a microbatch holds from its forward to its backward, tensor by tensor.

A layer's tensors are a table of rows, so that every byte has a name; recompute modes select rows.
``s b h`` below are the tokens of a microbatch on a rank times the hidden size, t is ``tp``.

Source: Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models"
(arXiv 2205.05198), section 4 and equations 1 to 5, generalised to any MLP width, gated MLPs,
grouped queries, flash attention and fp8.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from simulator.cost.activation_mlp import dense_mlp_items, expert_items, routed_tokens
from simulator.cost.footprint import FP32_BYTES
from simulator.cost.microbatch import ActivationItem, MicrobatchShape, total_bytes
from simulator.model import TransformerConfig, mlp_matrices
from simulator.numeric import Numeric
from simulator.plan import Recompute, RecomputeMode
from simulator.stack import Stack

MASK_BYTES: Final = 1.0
"""A dropout mask takes one byte per element. Source: arXiv 2205.05198, section 4.1."""

_ALTERNATE_DROPS: Final = {"attention.key": 1.0, "mlp.gate_and_up": 0.5}
"""Share of a tensor that ``alternate`` drops, because every second product makes it.

Of query, key, value, output, gate, up and down these are key, output and up. What the output's
product makes is dropped in exchange for the result of the last product, which is as large.
Source: pytorch/torchtitan@0596be3a, torchtitan/models/llama/parallelize_llama.py, _save_list.
"""


def layer_activation_items(
    model: TransformerConfig, shape: MicrobatchShape, stack: Stack, *, experts: bool = False
) -> tuple[ActivationItem, ...]:
    """Every tensor that one layer, with or without experts, holds without recomputation.

    For 4h-wide GELU layers with dropout and unfused attention the rows sum to
    ``s b h (34 + 5 a s / h)`` on one rank, ``s b h (10 + 24/t + 5 a s / (h t))`` with tensor
    parallelism, and ``s b h / t (34 + 5 a s / h)`` with sequence parallelism.

    Source: arXiv 2205.05198, equations 1, 2 and 4.
    """
    items = (
        *_norm_items(model, shape, stack),
        *_attention_items(model, shape, stack),
        *(expert_items if experts else dense_mlp_items)(model, shape, stack),
    )
    if shape.kept:
        shares = dict(shape.kept)
        items = tuple(replace(i, bytes=i.bytes * shares.get(i.name, 1.0)) for i in items)
    if shape.adapter_width:
        hidden = shape.element_bytes * shape.tokens * shape.adapter_width
        items = (*items, ActivationItem("adapter.hidden", hidden))
    return items


def layer_activation_bytes(
    model: TransformerConfig,
    shape: MicrobatchShape,
    stack: Stack,
    mode: RecomputeMode,
    *,
    experts: bool = False,
) -> Numeric:
    """What one layer, with or without experts, holds for one microbatch.

    none: all rows. selective: all but the attention core, 34 s b h / t, and with
    ``stack.recompute_elementwise`` without what elementwise kernels make. alternate: what linear
    products and fused attention make, but for every second product: keys, and half of what a gated
    MLP's first product makes. full: the layer's input, 2 s b h, divided by t with sequence
    parallelism or ``stack.partition_activations``, nothing with ``stack.checkpoints_on_host``.

    Source: arXiv 2205.05198, equations 5 and 6 and section 5.
    Assumes: with full recomputation the input of every layer is kept (Megatron-LM's default of
        one layer per checkpoint, without ``--distribute-saved-activations``).
    """
    if mode == "full":
        if stack.checkpoints_on_host:
            return 0.0 * shape.tokens
        tokens = shape.tokens / shape.tp if stack.partition_activations else shape.norm_tokens
        return shape.element_bytes * tokens * model.hidden_size
    items = layer_activation_items(model, shape, stack, experts=experts)
    if mode == "none":
        return total_bytes(items)
    if mode == "alternate":
        # Copies that an eager norm makes of its input are computed again, whatever the kernel.
        items = layer_activation_items(model, shape, replace(stack, fused_norm=True))
        kept = tuple(item for item in items if not item.elementwise)
        dropped = (_ALTERNATE_DROPS.get(item.name, 0.0) * item.bytes for item in kept)
        return total_bytes(kept) - sum(dropped, start=0.0)
    cheap = stack.recompute_elementwise
    return total_bytes(tuple(i for i in items if not (i.in_core or (cheap and i.elementwise))))


def stage_activation_bytes(
    model: TransformerConfig,
    shape: MicrobatchShape,
    stack: Stack,
    recompute: Recompute,
    num_layers: Numeric,
    num_expert_layers: Numeric = 0,
) -> Numeric:
    """What the ``num_layers`` layers of one virtual stage hold for one microbatch.

    With ``recompute.num_layers`` only that many layers recompute, the others hold everything.

    Args:
        model: the transformer.
        shape: of the microbatch.
        stack: how kernels run.
        recompute: what the backward computes again.
        num_layers: of the stage.
        num_expert_layers: those of them that have experts.
    """
    held = _layers_bytes(model, shape, stack, recompute, num_layers - num_expert_layers)
    if not num_expert_layers:
        return held
    return held + _layers_bytes(model, shape, stack, recompute, num_expert_layers, experts=True)


def _layers_bytes(
    model: TransformerConfig,
    shape: MicrobatchShape,
    stack: Stack,
    recompute: Recompute,
    num_layers: Numeric,
    *,
    experts: bool = False,
) -> Numeric:
    """What so many layers of one kind hold; see ``stage_activation_bytes``."""
    held = layer_activation_bytes(model, shape, stack, recompute.mode, experts=experts)
    if recompute.keeps_qkv:
        width = _query_key_value_width(model, shape)
        held = held + shape.element_bytes * shape.tokens * width
    if recompute.mode != "full" or recompute.num_layers is None:
        return num_layers * held
    recomputed = np.minimum(num_layers, recompute.num_layers)
    whole = layer_activation_bytes(model, shape, stack, "none", experts=experts)
    return recomputed * held + (num_layers - recomputed) * whole


def recompute_working_bytes(
    model: TransformerConfig,
    shape: MicrobatchShape,
    stack: Stack,
    mode: RecomputeMode,
    *,
    experts: bool = False,
) -> Numeric:
    """What the backward of one layer brings back: the rows that its recompute mode dropped.

    Zero for ``none``. Only one layer's are alive at a time.
    """
    items = layer_activation_items(model, shape, stack, experts=experts)
    held = layer_activation_bytes(model, shape, stack, mode, experts=experts)
    return total_bytes(items) - held


def gradient_working_bytes(
    model: TransformerConfig, shape: MicrobatchShape, stack: Stack, *, experts: bool = False
) -> Numeric:
    """Gradients alive at the widest point of a layer's backward, and its gather buffer.

    The gradients of an operation's output and input are alive together: of the MLP's activation
    function, or, with unfused attention, of the softmax. The gradient of the residual stream is
    alive throughout, sequence parallelism gathers a full-length tensor, and the new gradient of
    the first MLP matrix exists before it is added to the accumulated one.

    Assumes: gradients have the dtype of the activations and are freed when last used; those of
        experts are accumulated one expert after the other.
    """
    element, tokens = shape.element_bytes, shape.tokens
    mlp_inputs = mlp_matrices(model) - 1
    width = model.expert_ffn_hidden_size if experts else model.ffn_hidden_size
    visits = routed_tokens(model, shape) if experts else tokens
    widest = (1 + mlp_inputs) * visits * width / shape.tp
    if experts and not (shape.sequence_parallel and shape.cuts_experts):
        # The gradient of the dispatched tokens, which otherwise lies in the buffer of the gather.
        seen = visits if shape.cuts_experts else visits / shape.tp
        inputs = mlp_inputs * visits * width / shape.tp
        widest = np.maximum(widest, inputs + seen * model.hidden_size)
    if stack.attention == "unfused":
        widest = np.maximum(widest, 2 * _scores(model, shape))
    residual = shape.norm_tokens * model.hidden_size
    in_full = visits if shape.cuts_experts else tokens
    gathered = in_full * model.hidden_size if shape.sequence_parallel else 0.0
    cut = 1 if experts and not shape.cuts_experts else shape.tp
    new_gradient = model.hidden_size * mlp_inputs * width / cut
    return element * (widest + residual + gathered + new_gradient)


def weight_gradient_held_bytes(
    model: TransformerConfig, shape: MicrobatchShape, *, experts: bool = False
) -> Numeric:
    """What a layer holds between its input backward B and its weight backward W.

    The inputs of its linears and the gradients of their outputs: ``32 s b h`` for 4h-wide GELU
    layers on one rank, whatever the attention.

    Source: Qi et al. 2023, "Zero Bubble Pipeline Parallelism" (arXiv 2401.10241), section 2.
    """
    mlp_inputs, hidden = mlp_matrices(model) - 1, model.hidden_size
    inner = shape.tokens * model.ffn_hidden_size
    num_inputs = 1 if model.parallel_block else 2
    outer = num_inputs * shape.norm_tokens * hidden
    if experts:
        visits = routed_tokens(model, shape)
        inner = visits * model.expert_ffn_hidden_size
        inner = inner + shape.tokens * model.shared_expert_ffn_hidden_size
        seen = visits if shape.cuts_experts else visits / shape.tp
        outer = shape.norm_tokens * hidden + seen * hidden
    inputs = outer + (shape.tokens * model.query_size + inner) / shape.tp
    if experts:
        inputs = inputs + shape.norm_tokens * hidden  # of the router and of shared experts
    gradients = (
        shape.tokens * _query_key_value_width(model, shape) + mlp_inputs * inner / shape.tp + outer
    )
    return shape.linear_input_bytes * inputs + shape.element_bytes * gradients


def embedding_activation_bytes(
    model: TransformerConfig, shape: MicrobatchShape, stack: Stack
) -> Numeric:
    """The mask of the dropout after the embedding. Source: arXiv 2205.05198, section 4.3."""
    mask = MASK_BYTES if stack.dropout else 0.0
    return mask * shape.norm_tokens * model.hidden_size


def _norm_items(
    model: TransformerConfig, shape: MicrobatchShape, stack: Stack
) -> tuple[ActivationItem, ...]:
    """Norm inputs, inputs of the linears after them, and the masks of the hidden dropouts."""
    size = shape.norm_tokens * model.hidden_size
    norm_bytes = shape.element_bytes
    if model.normalization == "rmsnorm" and not stack.fused_norm:
        # In eager mode autograd keeps an fp32 copy of the input and the normalised input.
        norm_bytes = FP32_BYTES + shape.element_bytes
    norm_input = norm_bytes * size
    linear_input = shape.linear_input_bytes * size
    mask = MASK_BYTES * size if stack.dropout else 0.0
    first = (
        ActivationItem("attention.norm_input", norm_input),
        ActivationItem("attention.linear_input", linear_input, elementwise=True),
        ActivationItem("attention.dropout_mask", mask),
    )
    if model.parallel_block:
        return first
    return (
        *first,
        ActivationItem("mlp.dropout_mask", mask),
        ActivationItem("mlp.norm_input", norm_input),
        ActivationItem("mlp.linear_input", linear_input, elementwise=True),
    )


def _attention_items(
    model: TransformerConfig, shape: MicrobatchShape, stack: Stack
) -> tuple[ActivationItem, ...]:
    """Queries, keys, values, the core's own tensors, and the input of the output projection."""
    element, tokens = shape.element_bytes, shape.tokens
    query = tokens * model.query_size / shape.tp
    # Unfused kernels repeat the keys and values of a group for each of its queries.
    unfused = stack.attention == "unfused"
    key_value = query if unfused else tokens * _key_value_width(model, shape)
    outside = (
        ActivationItem("attention.query", element * query),
        ActivationItem("attention.key", element * key_value),
        ActivationItem("attention.value", element * key_value),
        ActivationItem("attention.projection_input", shape.linear_input_bytes * query),
    )
    if unfused:
        return (*outside, *_unfused_core_items(model, shape, stack))
    log_sum_exp = FP32_BYTES * tokens * model.num_attention_heads / shape.tp
    core = ActivationItem("attention.log_sum_exp", log_sum_exp, in_core=True)
    if shape.linear_input_bytes == element and not stack.copies_attention_output:
        return (*outside, core)
    # The kernel's output is not the tensor that the projection holds: that is in fp8, or in
    # another order.
    return (*outside, core, ActivationItem("attention.output", element * query, in_core=True))


def _unfused_core_items(
    model: TransformerConfig, shape: MicrobatchShape, stack: Stack
) -> tuple[ActivationItem, ...]:
    """The s x s tensors: softmax 2 a s^2 b, and with dropout its mask and output, 3 a s^2 b."""
    scores = _scores(model, shape)
    softmax = ActivationItem("attention.softmax", shape.element_bytes * scores, in_core=True)
    if not stack.dropout:
        return (softmax,)
    return (
        softmax,
        ActivationItem("attention.softmax_mask", MASK_BYTES * scores, in_core=True),
        ActivationItem("attention.softmax_dropped", shape.element_bytes * scores, in_core=True),
    )


def _scores(model: TransformerConfig, shape: MicrobatchShape) -> Numeric:
    """Elements of the attention matrix on one rank: a s^2 b / (t cp)."""
    return shape.tokens * shape.seq_length * model.num_attention_heads / shape.tp


def _key_value_width(model: TransformerConfig, shape: MicrobatchShape) -> Numeric:
    """Width of the keys on one rank; at least one head."""
    return np.maximum(model.key_value_size / shape.tp, model.head_dim)


def _query_key_value_width(model: TransformerConfig, shape: MicrobatchShape) -> Numeric:
    """Width of queries, keys and values together on one rank."""
    return model.query_size / shape.tp + 2 * _key_value_width(model, shape)
