"""The kernels of one transformer layer, of the embedding and of the vocabulary projection.

Everything is per microbatch and per rank. Source for the kernel list: Megatron-LM's
``ParallelTransformerLayer``; Korthikanti et al. 2022 (arXiv 2205.05198) figures 2-5.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.cost.attention import AttentionShape
from simulator.cost.footprint import padded_vocab
from simulator.model import TransformerConfig, mlp_matrices
from simulator.numeric import Numeric
from simulator.stack import Stack
from simulator.workload.experts import expert_mlp, routed_split
from simulator.workload.kernel import (
    Block,
    Collective,
    Elementwise,
    FusedAttention,
    Kernel,
    Matmul,
    word_bytes,
)
from simulator.workload.linear import Split, column_linear, row_linear


def _elementwise(name: str, family: str, elements: Numeric) -> Block:
    return Block(
        (Elementwise(name, family, elements),),
        (Elementwise(f"{name}.backward", family, elements, backward=True),),
    )


def key_value_width(model: TransformerConfig, split: Split) -> Numeric:
    """Columns of all keys over the tensor-parallel ranks: each rank has at least one whole head."""
    return np.maximum(model.key_value_size, model.head_dim * split.tp)


def norm_block(name: str, model: TransformerConfig, split: Split, stack: Stack) -> Block:
    """One normalisation of the tokens this rank holds."""
    kind = "fused" if stack.fused_norm else "eager"
    family = f"{model.normalization}_{kind}"
    return _elementwise(name, family, split.local_tokens * model.hidden_size)


def residual_block(name: str, model: TransformerConfig, split: Split, stack: Stack) -> Block:
    """Bias, dropout and residual addition after a row-parallel linear."""
    elements = split.local_tokens * model.hidden_size
    if stack.fused_bias_dropout_add and (stack.dropout or model.use_bias):
        return _elementwise(name, "bias_dropout_add_fused", elements)
    block = _elementwise(f"{name}.add", "add", elements)
    if stack.dropout:
        block = _elementwise(f"{name}.dropout", "dropout", elements) + block
    if model.use_bias:
        block = _elementwise(f"{name}.bias", "bias_add", elements) + block
    return block


def _softmax_block(matrices: Numeric, scores: Numeric, stack: Stack) -> Block:
    """Softmax of so many matrices of scores, ``scores`` elements in all, and its dropout.

    Megatron's fused kernel takes them by fours; others run in eager kernels (NVIDIA/Megatron-LM
    @0cb36de, megatron/model/fused_softmax.py: ``attn_batch_size % 4 == 0``). BLOOM's authors chose
    heads and microbatches by it (bigscience@053adaf, tr11-176B-ml/chronicles-prequel.md).

    Assumes: its limit of 2,048 keys, raised to 4,096 and 16,384 later, is never met.
    """
    if not stack.fused_softmax:
        block = _elementwise("softmax", "softmax_eager", scores)
    else:
        fits = np.asarray(matrices) % stack.softmax_multiple == 0
        block = Block((), ())
        if fits.any():
            block = block + _elementwise("softmax", "softmax_fused", scores * fits)
        if not fits.all():
            block = block + _elementwise("softmax", "softmax_eager_fp32", scores * ~fits)
    if stack.dropout:
        block = block + _elementwise("attention_dropout", "dropout", scores)
    return block


def _unfused_core(model: TransformerConfig, split: Split, stack: Stack) -> Block:
    """QK^T, softmax, dropout and PV as separate kernels over the whole score matrix."""
    heads = model.num_attention_heads / split.tp
    batch = split.micro_batch * heads
    queries = keys = float(split.seq_length)
    dim = float(model.head_dim)
    word = word_bytes(model.head_dim * split.element_bytes)

    def product(name: str, m: Numeric, n: Numeric, k: Numeric) -> Matmul:
        return Matmul(name, m, n, k, batch, in_core=True, word_bytes=word)

    softmax = _softmax_block(batch, batch * queries * keys, stack)
    forward = (
        product("scores", queries, keys, dim),
        *softmax.forward,
        product("context", queries, dim, keys),
    )
    backward = (
        product("context.dgrad_scores", queries, keys, dim),
        product("context.dgrad_values", keys, dim, queries),
        *softmax.backward,
        product("scores.dgrad_queries", queries, dim, keys),
        product("scores.dgrad_keys", keys, dim, queries),
    )
    return Block(forward, backward, core=forward)


def _fused_core(model: TransformerConfig, split: Split) -> Block:
    shape = AttentionShape(
        batch=split.micro_batch,
        heads=model.num_attention_heads / split.tp,
        query_tokens=float(split.seq_length),
        key_tokens=float(split.seq_length),
        head_dim=model.head_dim,
        causal=model.causal,
        window=model.sliding_window,
    )
    forward = FusedAttention("flash_attention", shape, backward=False)
    backward = FusedAttention("flash_attention.backward", shape, backward=True)
    return Block((forward,), (backward,), core=(forward,))


def attention_block(model: TransformerConfig, split: Split, stack: Stack) -> Block:
    """Rotary embedding and the attention core, with the copies that transposes cost."""
    core = (
        _unfused_core(model, split, stack)
        if stack.attention == "unfused"
        else _fused_core(model, split)
    )
    width = (model.query_size + key_value_width(model, split)) / split.tp
    if model.position_embedding == "rotary":
        family = "rotary_fused" if stack.fused_rotary else "rotary_eager"
        core = _elementwise("rotary", family, split.tokens * width) + core
    if stack.attention == "unfused":
        core = core + _elementwise("transpose", "copy", split.tokens * model.query_size / split.tp)
    return core


def activation_block(model: TransformerConfig, split: Split, stack: Stack, width: int) -> Block:
    """The non-linearity of an MLP of some width."""
    elements = split.tokens * width / split.tp
    if model.gated_mlp:
        family = "swiglu_fused" if stack.fused_bias_gelu else "swiglu_eager"
        return _elementwise("swiglu", family, elements)
    if stack.fused_bias_gelu:
        return _elementwise("bias_gelu", "bias_gelu_fused", elements)
    block = _elementwise("gelu", "gelu_eager", elements)
    return _elementwise("mlp_bias", "bias_add", elements) + block if model.use_bias else block


def layer_block(model: TransformerConfig, split: Split, stack: Stack) -> Block:
    """All kernels of a dense layer; parallel blocks share one normalisation and collective pair."""
    if model.parallel_block:
        return _parallel_layer(model, split, stack)
    mlp = _mlp(model, split, stack, model.ffn_hidden_size, "mlp")
    return _attention_half(model, split, stack) + _mlp_half(mlp, model, split, stack)


def expert_layer_block(model: TransformerConfig, split: Split, stack: Stack) -> Block:
    """All kernels of a layer with experts; shared experts are an MLP beside them."""
    routed = routed_split(model, split)
    activation = activation_block(model, routed, stack, model.expert_ffn_hidden_size)
    experts = expert_mlp(model, split, activation)
    if model.shared_expert_ffn_hidden_size:
        width = model.shared_expert_ffn_hidden_size
        experts = experts + _mlp(model, split, stack, width, "shared_expert")
        elements = split.local_tokens * model.hidden_size
        experts = experts + _elementwise("shared_expert.add", "add", elements)
    return _attention_half(model, split, stack) + _mlp_half(experts, model, split, stack)


def _parallel_layer(model: TransformerConfig, split: Split, stack: Stack) -> Block:
    """Attention and MLP on the same normalised input."""
    hidden, ffn = model.hidden_size, model.ffn_hidden_size
    enter = _query_key_value(model, split) + (mlp_matrices(model) - 1) * ffn
    return (
        norm_block("norm", model, split, stack)
        + column_linear("qkv_mlp_in", split, inputs=hidden, outputs=enter)
        + attention_block(model, split, stack)
        + activation_block(model, split, stack, ffn)
        + row_linear("out_mlp_out", split, inputs=model.query_size + ffn, outputs=hidden)
        + residual_block("residual", model, split, stack)
    )


def _attention_half(model: TransformerConfig, split: Split, stack: Stack) -> Block:
    hidden = model.hidden_size
    return (
        norm_block("norm", model, split, stack)
        + column_linear("qkv", split, inputs=hidden, outputs=_query_key_value(model, split))
        + attention_block(model, split, stack)
        + row_linear("attention_out", split, inputs=model.query_size, outputs=hidden)
        + residual_block("residual", model, split, stack)
    )


def _mlp_half(mlp: Block, model: TransformerConfig, split: Split, stack: Stack) -> Block:
    norm = norm_block("mlp_norm", model, split, stack)
    return norm + mlp + residual_block("mlp_residual", model, split, stack)


def _mlp(model: TransformerConfig, split: Split, stack: Stack, width: int, name: str) -> Block:
    """An MLP of some width."""
    enter = (mlp_matrices(model) - 1) * width
    return (
        column_linear(f"{name}_in", split, inputs=model.hidden_size, outputs=enter)
        + activation_block(model, split, stack, width)
        + row_linear(f"{name}_out", split, inputs=width, outputs=model.hidden_size)
    )


def _query_key_value(model: TransformerConfig, split: Split) -> Numeric:
    """Columns of queries, keys and values over the tensor-parallel ranks."""
    return model.query_size + 2 * key_value_width(model, split)


def embedding_block(model: TransformerConfig, split: Split, stack: Stack) -> Block:
    """Table lookup, its sum over tp (each rank holds part of the vocabulary), dropout."""
    hidden = model.hidden_size
    block = _elementwise("embedding", "embedding", split.tokens * hidden)
    if split.tensor_parallel:
        payload = split.tokens * hidden * split.element_bytes
        kind = "reduce_scatter" if split.sequence_parallel else "all_reduce"
        gather: tuple[Kernel, ...] = ()
        if split.sequence_parallel:
            gather = (Collective("embedding.all_gather", "all_gather", payload),)
        block = block + Block((Collective(f"embedding.{kind}", kind, payload),), gather)
    if stack.dropout:
        elements = split.local_tokens * hidden
        block = block + _elementwise("embedding_dropout", "dropout", elements)
    return block


def _output_rows(vocab_size: int, tp: Numeric, stack: Stack) -> Numeric:
    """Rows of the output layer over all tp ranks: the vocabulary, padded if the framework does.

    Otherwise a rank has floor(V / tp) rows: tp divides V, or the rest is left out
    (VIA-Research/vTrain@f8dda84, src/model/gpt_modeling.py).
    """
    if stack.pads_vocabulary:
        return padded_vocab(vocab_size, tp)
    return np.floor(vocab_size / tp) * tp


def output_block(model: TransformerConfig, split: Split, stack: Stack) -> Block:
    """Final normalisation, logits over the local vocabulary, cross-entropy with its reductions."""
    # The vocabulary projection stays in 16 bits: Megatron-Core's output layer is no layer of
    # Transformer Engine, torchtitan filters "output" out of its float8 modules.
    rows = _output_rows(model.vocab_size, split.tp, stack)
    wide = replace(split, quantises=False)
    logits = column_linear("logits", wide, inputs=model.hidden_size, outputs=rows)
    elements = split.tokens * rows / split.tp
    loss = _elementwise("cross_entropy", f"cross_entropy_{stack.cross_entropy}", elements)
    if split.tensor_parallel:
        # Maximum, sum of exponentials and target logit: three all-reduces of one fp32 per token.
        reduce = Collective("cross_entropy.all_reduce", "all_reduce", split.tokens * 4.0)
        loss = loss + Block((reduce,) * 3, ())
    return norm_block("final_norm", model, split, stack) + logits + loss
