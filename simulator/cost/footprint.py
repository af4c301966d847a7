"""Bytes that live on a device for the whole step: model states, and buffers around them.

Model states are weights, gradients, optimizer moments and a master copy of the weights, each
whole or divided over the shard group as the policy's row says.

Source: ZeRO (Rajbhandari et al. 2020, arXiv 1910.02054), section 3.1 and Table 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from simulator.machine import BYTES_PER_ELEMENT
from simulator.model import (
    TransformerConfig,
    attention_matrix_parameters,
    mlp_matrices,
    norm_parameters,
    widest_dense_mlp,
)
from simulator.numeric import Numeric
from simulator.plan import OptimizerConfig, ParallelismPlan, reduces_every_microbatch
from simulator.sharding import ShardingPolicy, ShardSizes

VOCAB_MULTIPLE: Final = 128
"""Rows of the vocabulary table per tensor-parallel rank are a multiple of this.

Source: Megatron-LM, ``--make-vocab-size-divisible-by``, default 128.
"""

FP32_BYTES: Final = 4.0

FP8_CAST_BYTES: Final = 2.0
"""fp8 cast of a weight (1) and the transposed cast (1) that the data gradient reads.

Source: Transformer Engine caches both over the microbatches of a step (Hopper).
"""

FP8_WEIGHT_BYTES: Final = 2.0 + FP8_CAST_BYTES
"""bf16 weight and its casts."""


@dataclass(frozen=True, slots=True)
class StateBytes:
    """Model states on one rank, in bytes."""

    weights: Numeric
    gradients: Numeric
    optimizer: Numeric
    master_weights: Numeric

    @property
    def total(self) -> Numeric:
        """All model states."""
        return self.weights + self.gradients + self.optimizer + self.master_weights


@dataclass(frozen=True, slots=True)
class BufferBytes:
    """Scratch space that goes with a sharding policy, in bytes on one rank.

    Attributes:
        gathered_weights: whole weights of the layers in use or on their way.
        gradient_buckets: whole gradients on their way to their shards.
        optimizer_step: fp32 copy of the gradients; exists only while the optimizer runs, when no
            activations are held.
    """

    gathered_weights: Numeric
    gradient_buckets: Numeric
    optimizer_step: Numeric

    @property
    def during_passes(self) -> Numeric:
        """Buffers alive in forward and backward."""
        return self.gathered_weights + self.gradient_buckets


def bytes_per_weight(precision: str, *, fp8_only: bool = False) -> float:
    """Bytes that one weight takes beside its master copy.

    Args:
        precision: a key of ``BYTES_PER_ELEMENT``.
        fp8_only: the fp8 casts are the weights, without a bf16 weight beside them (Transformer
            Engine's ``fp8_model_init``, NeMo's ``fp8_params``).

    Source: ``FP8_WEIGHT_BYTES`` for fp8; otherwise the element itself.
    """
    if precision != "fp8":
        return BYTES_PER_ELEMENT[precision]
    return FP8_CAST_BYTES if fp8_only else FP8_WEIGHT_BYTES


def model_state_bytes(
    parameters: Numeric,
    *,
    policy: ShardingPolicy,
    shard_size: Numeric,
    optimizer: OptimizerConfig,
    weight_bytes: float,
    gradient_copy_bytes: float = 0.0,
    sizes: ShardSizes | None = None,
) -> StateBytes:
    """Model states of ``parameters`` parameters: (w + g + K) Psi, sharded terms over N.

    With 2-byte weights and gradients and K = 12 (Adam 8, master 4) this is ZeRO's Table 1:
    16 Psi, 4 Psi + 12 Psi/N, 2 Psi + 14 Psi/N, 16 Psi/N.

    Args:
        parameters: on this rank before sharding (``stage_parameters``).
        policy: which states are divided.
        shard_size: N, ranks over which they are divided.
        optimizer: bytes per parameter of gradients, moments and master copy.
        weight_bytes: of one working weight (``bytes_per_weight``).
        gradient_copy_bytes: of a second gradient beside the accumulated one, never divided.
        sizes: ranks that divide each state, where they are not all N; a second copy of the
            weights over g ranks adds w Psi / g.

    Source: arXiv 1910.02054, Figure 1 and Table 1; second copy: ZeRO++ (arXiv 2306.10209),
        section 3.2.
    """
    if sizes is None:
        sizes = ShardSizes(shard_size, shard_size, shard_size)
    weights = parameters / sizes.weights if policy.shard_weights else parameters
    gradients = parameters / sizes.gradients if policy.shard_gradients else parameters
    states = parameters / sizes.optimizer if policy.shard_optimizer else parameters
    if policy.secondary is not None:
        weights = weights + parameters / sizes.secondary
    return StateBytes(
        weights=weights * weight_bytes,
        gradients=gradients * optimizer.gradient_bytes + parameters * gradient_copy_bytes,
        optimizer=states * optimizer.state_bytes,
        master_weights=states * optimizer.master_bytes,
    )


def padded_vocab(vocab_size: Numeric, tp: Numeric) -> Numeric:
    """Rows of the vocabulary table: V rounded up to a multiple of 128 tp.

    Source: Megatron-LM, ``_vocab_size_with_padding``.
    """
    multiple = VOCAB_MULTIPLE * tp
    return np.ceil(vocab_size / multiple) * multiple


def layer_rank_parameters(model: TransformerConfig, tp: Numeric) -> Numeric:
    """Parameters of one dense layer on one of ``tp`` ranks.

    Matrices are divided, and with them the bias of a column-parallel linear (queries, keys,
    values, MLP input). The bias of a row-parallel linear and the norms are on every rank, and so
    is a key/value head when there are fewer of them than ranks.

    Source: Megatron-LM (Shoeybi et al. 2019, arXiv 1909.08053), section 3.
    """
    return _attention_rank_parameters(model, tp) + _mlp_rank_parameters(
        model, tp, model.ffn_hidden_size
    )


def shared_rank_parameters(model: TransformerConfig, tp: Numeric) -> Numeric:
    """Parameters of a layer with experts on one of ``tp`` ranks that are no expert's.

    The router is on every rank.

    Source: NVIDIA/Megatron-LM, core/transformer/moe (router.py, shared_experts.py).
    """
    total = _attention_rank_parameters(model, tp) + model.hidden_size * model.num_experts
    width = model.shared_expert_ffn_hidden_size
    return total + _mlp_rank_parameters(model, tp, width) if width else total


def expert_rank_parameters(model: TransformerConfig, etp: Numeric, ep: Numeric) -> Numeric:
    """Parameters of the experts of one layer on one rank: E / ep experts, each divided by etp.

    Source: NVIDIA/Megatron-LM, core/transformer/moe/experts.py.
    """
    one = _mlp_rank_parameters(model, etp, model.expert_ffn_hidden_size)
    return model.num_experts / ep * one


def _attention_rank_parameters(model: TransformerConfig, tp: Numeric) -> Numeric:
    """Attention and normalisations of one layer."""
    hidden, key_value = model.hidden_size, model.key_value_size
    extra_key_value = np.maximum(key_value / tp, model.head_dim) - key_value / tp
    matrices = attention_matrix_parameters(model) / tp + 2 * hidden * extra_key_value
    biases = 0.0
    if model.use_bias:
        biases = (model.query_size + 2 * key_value) / tp + 2 * extra_key_value + hidden
    num_norms = 1 if model.parallel_block else 2
    return matrices + biases + num_norms * norm_parameters(model)


def _mlp_rank_parameters(model: TransformerConfig, tp: Numeric, width: int) -> Numeric:
    """One MLP of some width."""
    matrices = mlp_matrices(model) * model.hidden_size * width / tp
    if not model.use_bias:
        return matrices
    return matrices + (mlp_matrices(model) - 1) * width / tp + model.hidden_size


def embedding_rank_parameters(model: TransformerConfig, tp: Numeric) -> Numeric:
    """Input tables on one rank: the vocabulary is divided, positions and token types are not."""
    hidden = model.hidden_size
    tables = (model.max_position_embeddings + model.num_token_types) * hidden
    norm = norm_parameters(model) if model.num_token_types else 0
    return padded_vocab(model.vocab_size, tp) / tp * hidden + tables + norm


def output_rank_parameters(
    model: TransformerConfig, tp: Numeric, *, has_embedding: bool
) -> Numeric:
    """Final norm, vocabulary matrix and BERT's heads on one rank of the last stage.

    A tied vocabulary matrix is that of the input when both are on one stage; otherwise the last
    stage keeps a second copy.
    """
    hidden = model.hidden_size
    rows = padded_vocab(model.vocab_size, tp) / tp
    total = norm_parameters(model) + rows * hidden * (not (model.tied_embeddings and has_embedding))
    if model.has_pooler:
        total = total + 2 * (hidden * hidden + hidden) + norm_parameters(model) + rows
    return total


def stage_parameters(
    model: TransformerConfig,
    num_layers: Numeric,
    *,
    has_embedding: bool,
    has_output: bool,
    tp: Numeric,
    num_expert_layers: Numeric = 0,
) -> Numeric:
    """Parameters on one rank that holds ``num_layers`` layers, before data-parallel sharding.

    Without those of experts, which fewer replicas hold (``expert_rank_parameters``).

    Args:
        model: the transformer.
        num_layers: layers of all virtual stages on the rank.
        has_embedding: it holds the input tables (first stage).
        has_output: it holds the final norm and the vocabulary projection (last stage).
        tp: tensor-parallel degree.
        num_expert_layers: those of its layers that have experts.
    """
    total = (num_layers - num_expert_layers) * layer_rank_parameters(model, tp)
    if num_expert_layers:
        total = total + num_expert_layers * shared_rank_parameters(model, tp)
    if has_embedding:
        total = total + embedding_rank_parameters(model, tp)
    if has_output:
        total = total + output_rank_parameters(model, tp, has_embedding=has_embedding)
    return total


def mean_layer_parameters(
    model: TransformerConfig,
    num_layers: int,
    num_expert_layers: int,
    *,
    tp: Numeric,
    etp: Numeric,
    ep: Numeric,
) -> Numeric:
    """Parameters of one layer on a rank, on average over layers with and without experts.

    Assumes: layers that are whole at once are as mixed as those of the rank.
    """
    dense = layer_rank_parameters(model, tp)
    if not num_expert_layers:
        return dense
    with_experts = shared_rank_parameters(model, tp) + expert_rank_parameters(model, etp, ep)
    share = num_expert_layers / num_layers
    return (1 - share) * dense + share * with_experts


def largest_parameter(
    model: TransformerConfig, tp: Numeric, *, has_table: bool, etp: Numeric | None = None
) -> Numeric:
    """Elements of the largest matrix on a rank: the vocabulary's, or the first of an MLP.

    Args:
        model: the transformer.
        tp: tensor-parallel degree.
        has_table: the rank holds a vocabulary table.
        etp: ranks over which an expert is cut; ``tp`` when left out.
    """
    per_width = mlp_matrices(model) - 1
    rows = per_width * widest_dense_mlp(model)
    if has_table:
        rows = np.maximum(padded_vocab(model.vocab_size, tp), rows)
    expert = per_width * model.expert_ffn_hidden_size / (tp if etp is None else etp)
    return np.maximum(rows / tp, expert) * model.hidden_size


def norm_workspace_bytes(
    parameters: Numeric,
    largest: Numeric,
    *,
    policy: ShardingPolicy,
    shard_size: Numeric,
    copy_bytes: float,
) -> Numeric:
    """Copy of the largest gradient that the gradient norm is computed of.

    A rank takes the norm of what it owns, so of no more than its shard.

    Source: DeepSpeed, runtime/zero/stage_1_and_2.py, ``get_grad_norm_direct``:
        ``g.data.double().norm(2)``, 8 bytes per element, one parameter after the other. Its
        optimizers without ZeRO take the norm of the fp32 gradients themselves.
    """
    return copy_bytes * np.minimum(largest, parameters / shard_size) * policy.shard_optimizer


def limited_buffers(
    buffers: BufferBytes,
    largest: Numeric,
    *,
    live_parameters: float,
    weight_bytes: float,
    bucket_bytes: Numeric,
) -> BufferBytes:
    """Buffers of a framework that gathers matrix by matrix and reduces in buckets.

    Args:
        buffers: of whole layers (``buffer_bytes``).
        largest: elements of the largest matrix, which must be whole to be used.
        live_parameters: weights that may be whole at once.
        weight_bytes: of one working weight.
        bucket_bytes: of all buckets together.

    Source: DeepSpeed's ``stage3_max_live_parameters`` and ``reduce_bucket_size``.
    """
    live = np.maximum(largest, live_parameters) * weight_bytes
    return replace(
        buffers,
        gathered_weights=np.minimum(buffers.gathered_weights, live),
        gradient_buckets=np.minimum(buffers.gradient_buckets, bucket_bytes),
    )


def buffer_bytes(
    parameters: Numeric,
    layer_parameters: Numeric,
    num_layers: Numeric,
    *,
    plan: ParallelismPlan,
    shard_size: Numeric,
    optimizer: OptimizerConfig,
    weight_bytes: float,
) -> BufferBytes:
    """Scratch space that the plan's sharding policy needs on a rank.

    * Weights gathered before use: ``prefetch_depth + 1`` whole layers, and everything outside
      the layers, which stays whole from its forward to its backward.
    * Gradients that leave after every microbatch: one bucket, two when the reduction overlaps;
      a bucket is a layer when weights are gathered by layer, else ``plan.bucket_bytes``. Other
      policies reduce inside the gradient buffer.
    * Gradients kept in less than fp32 are widened, by shards, for the optimizer.

    Args:
        parameters: on this rank before sharding (``stage_parameters``).
        layer_parameters: of one layer (``layer_rank_parameters``).
        num_layers: layers on this rank.
        plan: policy, prefetch depth, bucket size and overlap.
        shard_size: N, ranks over which states are divided.
        optimizer: dtypes of the gradients.
        weight_bytes: of one working weight.

    Source: PyTorch FSDP (Zhao et al. 2023, arXiv 2304.11277), sections 3 and 4.
    Assumes: policies without ``reduce_every_microbatch`` need no bucket (Megatron-LM's
        contiguous gradient buffer).
    """
    policy = plan.sharding
    by_layer = policy.gather == "before_use" and plan.shard_size > 1
    outside = parameters - num_layers * layer_parameters
    held_layers = np.minimum(num_layers, plan.prefetch_depth + 1)
    gathered = (outside + held_layers * layer_parameters) * weight_bytes
    in_one_bucket = (
        layer_parameters * optimizer.gradient_reduce_bytes
        if by_layer
        else np.minimum(plan.bucket_bytes, parameters * optimizer.gradient_reduce_bytes)
    )
    leave_early = reduces_every_microbatch(plan) and plan.dp * plan.cp > 1
    stepped = parameters / shard_size if policy.shard_optimizer else parameters
    widened = optimizer.gradient_bytes < FP32_BYTES and optimizer.master_bytes > 0
    return BufferBytes(
        gathered_weights=gathered if by_layer else 0.0,
        gradient_buckets=in_one_bucket * (1 + plan.overlap_dp) if leave_early else 0.0,
        optimizer_step=stepped * FP32_BYTES if widened else 0.0,
    )
