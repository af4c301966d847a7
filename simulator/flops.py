"""How published work counts the FLOPs of one training step. The same run, five numbers.

A utilisation is only comparable under the convention that its source used: they differ by 3 to
35 %. Nothing here is the work that a device executes; that is the sum over the op graph. Of experts
those count that a token visits: N is then the active parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from simulator.model import (
    TransformerConfig,
    active_layer_matrix_parameters,
    layer_matrix_parameters,
    num_active_parameters,
    num_expert_layers,
)

FlopsConvention = Callable[[TransformerConfig, int, int], float]
"""``(model, global_batch_size, seq_length) -> FLOPs`` of one step of the whole job."""


def palm_flops(model: TransformerConfig, global_batch_size: int, seq_length: int) -> float:
    """Model FLOPs, tokens * (6 N + 12 L H Q s): N all parameters, embeddings included.

    Attention counts every pair of tokens, also those that a causal mask or a window removes.

    Source: PaLM (arXiv 2204.02311, appendix B). Its N is 540.35e9, the exact count with the
    input embedding, which it shares with the output.
    """
    per_token = 6.0 * num_active_parameters(model)
    per_token += 12.0 * model.num_layers * model.query_size * seq_length
    return global_batch_size * seq_length * per_token


def megatron_model_flops(
    model: TransformerConfig, global_batch_size: int, seq_length: int
) -> float:
    """Model FLOPs, 72 B s L h^2 (1 + s/(6h) + V/(12 L h)) for a GPT.

    Computed as tokens * (6 (L W + V h) + 12 L H Q s), where W are the matrix weights of a layer:
    the same number when W = 12 h^2 and H Q = h, and what Megatron-LM's
    ``num_floating_point_operations`` gives for gated MLPs and grouped queries. Attention is not
    halved for causality; the embedding lookup and recomputation count nothing.

    Source: Korthikanti et al. (arXiv 2205.05198, appendix A), eq. 7.
    """
    return _matrix_flops(model, global_batch_size, seq_length, layer_passes=3)


def megatron_hardware_flops(
    model: TransformerConfig, global_batch_size: int, seq_length: int
) -> float:
    """FLOPs with full recomputation, 96 B s L h^2 (1 + s/(6h) + V/(16 L h)) for a GPT.

    Layers run four passes (two forward, two for the backward), the vocabulary projection three.
    Generalised to other shapes as ``megatron_model_flops`` is. The formula counts recomputation
    even for a run that has none: it is a convention, not a measurement.

    Source: Narayanan et al. (arXiv 2104.04473, section 5.1), eq. 3.
    """
    return _matrix_flops(model, global_batch_size, seq_length, layer_passes=4)


def six_n_flops(model: TransformerConfig, global_batch_size: int, seq_length: int) -> float:
    """Model FLOPs without attention, 6 N tokens: N all parameters, embeddings included.

    Source: Kaplan et al. (arXiv 2001.08361, section 2.1), whose N leaves the embeddings out; the
    runs that report 6 N count them.
    """
    return 6.0 * num_active_parameters(model) * global_batch_size * seq_length


def eight_n_flops(model: TransformerConfig, global_batch_size: int, seq_length: int) -> float:
    """6 N tokens and a recomputed forward pass, 8 N tokens: N all parameters.

    Source: ZeRO-Infinity (arXiv 2104.07857, section 3) counts 2 x 4 x N per token.
    """
    return 8.0 * num_active_parameters(model) * global_batch_size * seq_length


def megatron_causal_flops(
    model: TransformerConfig, global_batch_size: int, seq_length: int
) -> float:
    """``megatron_model_flops`` with half the attention: a causal mask removes half the pairs.

    Source: Megatron-Bridge's "Model TFLOP/s" since release 25.09, and MaxText since 2025.
    """
    attention = 12.0 * model.num_layers * model.query_size * seq_length
    full = megatron_model_flops(model, global_batch_size, seq_length)
    return full - global_batch_size * seq_length * attention / 2


CONVENTIONS: Final[Mapping[str, FlopsConvention]] = {
    "palm": palm_flops,
    "megatron_model": megatron_model_flops,
    "megatron_hardware": megatron_hardware_flops,
    "6n": six_n_flops,
    "8n": eight_n_flops,
}
"""The conventions under which every report states its rate, by name."""


def _matrix_flops(
    model: TransformerConfig, global_batch_size: int, seq_length: int, *, layer_passes: int
) -> float:
    """2 FLOPs per weight, token and pass; scores and their product add 4 H Q s per layer."""
    attention = 4.0 * model.query_size * seq_length
    with_experts = num_expert_layers(model)
    layers = (model.num_layers - with_experts) * (2.0 * layer_matrix_parameters(model) + attention)
    if with_experts:
        active = 2.0 * active_layer_matrix_parameters(model) + attention
        layers = layers + with_experts * active
    vocabulary = 2.0 * model.vocab_size * model.hidden_size
    per_token = layer_passes * layers + 3 * vocabulary
    return global_batch_size * seq_length * per_token
