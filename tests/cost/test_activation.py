"""Activation memory: Korthikanti et al. 2022 (arXiv 2205.05198), in formulas and in figures."""

from __future__ import annotations

import dataclasses
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cost.activation import (
    embedding_activation_bytes,
    layer_activation_bytes,
    layer_activation_items,
    recompute_working_bytes,
    stage_activation_bytes,
    weight_gradient_held_bytes,
)
from simulator.cost.microbatch import MicrobatchShape, total_bytes
from simulator.cost.output_memory import (
    backward_working_bytes,
    logits_bytes,
    output_activation_bytes,
)
from simulator.model import TransformerConfig
from simulator.plan import Recompute
from simulator.stack import CrossEntropy, Stack

GIB = 2**30


def make_stack(**changes) -> Stack:
    numbers = {f.name: 0.0 for f in dataclasses.fields(Stack) if f.name != "assumptions"}
    fields = {
        "name": "test",
        "framework": "test",
        "attention": "unfused",
        "fused_softmax": True,
        "fused_bias_gelu": True,
        "fused_norm": True,
        "fused_bias_dropout_add": True,
        "dropout": True,
        "backward_tp_overlap": False,
        "overlap_dp": False,
        "overlap_tp": False,
        "overlap_pp": False,
        "cross_entropy": "vocab_parallel",
        "gather_logits": False,
        "copies_attention_output": False,
        "recompute_elementwise": False,
    }
    return Stack(**(numbers | fields | changes))


MEGATRON = make_stack()
FLASH = make_stack(attention="flash2", dropout=False)


def gpt(layers: int, hidden: int, heads: int) -> TransformerConfig:
    return TransformerConfig(
        "gpt", layers, hidden, 4 * hidden, heads, heads, hidden // heads, 51200
    )


LLAMA_70B = TransformerConfig(
    "llama", 80, 8192, 28672, 64, 8, 128, 128256, gated_mlp=True, normalization="rmsnorm",
    position_embedding="rotary", tied_embeddings=False, use_bias=False,
)  # fmt: skip


def shape(b=1, s=2048, tp=1, cp=1, sp=False, precision="fp16") -> MicrobatchShape:
    return MicrobatchShape(b, s, tp, cp, sp, precision)


# Table 3 and section 6 of the paper: model, microbatch, pipeline stages, virtual stages.
MODELS = {
    "22B": (gpt(48, 6144, 64), 4, 1, 1),
    "175B": (gpt(96, 12288, 96), 1, 8, 3),
    "530B": (gpt(105, 20480, 128), 1, 35, 3),
    "1T": (gpt(128, 25600, 160), 1, 64, 1),
}


def first_rank_gib(name: str, mode: str, *, sequence_parallel: bool) -> float:
    """Layers held by pipeline rank 0: L (1 + (p-1)/(p v)) with an interleaved schedule, else L."""
    model, b, p, v = MODELS[name]
    held_layers = model.num_layers * (1 + (p - 1) / (p * v) if v > 1 else 1)
    layer = layer_activation_bytes(model, shape(b, tp=8, sp=sequence_parallel), MEGATRON, mode)
    return held_layers * layer / GIB


@pytest.mark.parametrize("name", MODELS)
def test_equations_1_2_4_and_6(name):
    model, b, _, _ = MODELS[name]
    h, a, s, t = model.hidden_size, model.num_attention_heads, 2048, 8
    sbh = s * b * h
    serial, tensor, sequence = shape(b), shape(b, tp=t), shape(b, tp=t, sp=True)
    expected = {
        (serial, "none"): 34 + 5 * a * s / h,
        (tensor, "none"): 10 + 24 / t + 5 * a * s / (h * t),
        (sequence, "none"): (34 + 5 * a * s / h) / t,
        (sequence, "selective"): 34 / t,
        (tensor, "full"): 2,
        (sequence, "full"): 2 / t,
    }
    for (one, mode), per_sbh in expected.items():
        # 5 a s / h has no exact binary form.
        held = layer_activation_bytes(model, one, MEGATRON, mode)
        assert held == pytest.approx(sbh * per_sbh, rel=1e-14)


def test_items_of_a_layer_in_units_of_sbh():
    """Section 4.1 of the paper: 11 sbh + 5 a s^2 b of attention, 19 sbh of MLP, 4 sbh of norms."""
    model = gpt(1, 2048, 16)  # a s / h = 16 at s = 2048
    items = layer_activation_items(model, shape(), MEGATRON)
    sbh = 2048 * 2048
    assert {item.name: item.bytes / sbh for item in items} == {
        "attention.norm_input": 2,
        "attention.linear_input": 2,
        "attention.query": 2,
        "attention.key": 2,
        "attention.value": 2,
        "attention.softmax": 32,
        "attention.softmax_mask": 16,
        "attention.softmax_dropped": 32,
        "attention.projection_input": 2,
        "attention.dropout_mask": 1,
        "mlp.norm_input": 2,
        "mlp.linear_input": 2,
        "mlp.activation_input": 8,
        "mlp.projection_input": 8,
        "mlp.dropout_mask": 1,
    }


@pytest.mark.parametrize(
    ("name", "tensor_only", "selective_and_sequence"),
    [
        ("22B", 59.25, 9.56),
        ("175B", 66.84, 12.35),
        ("530B", 114.02, 23.08),
        ("1T", 131.25, 26.56),
    ],
)
def test_figure_1_activations_of_the_first_rank(name, tensor_only, selective_and_sequence):
    # GiB per device; half a unit of the last digit.
    assert first_rank_gib(name, "none", sequence_parallel=False) == pytest.approx(
        tensor_only, abs=0.006
    )
    assert first_rank_gib(name, "selective", sequence_parallel=True) == pytest.approx(
        selective_and_sequence, abs=0.006
    )


@pytest.mark.parametrize(
    ("name", "sequence_percent", "full_percent"),
    [("22B", 66.8, 7.6), ("175B", 62.0, 8.7), ("530B", 58.3, 9.5), ("1T", 58.3, 9.5)],
)
def test_figure_7_share_of_the_tensor_parallel_baseline(name, sequence_percent, full_percent):
    # The figure reads 9.4 for the two largest; 2 / (10 + 24/8 + 5 a s / (8 h)) = 2/21 is 9.52.
    baseline = first_rank_gib(name, "none", sequence_parallel=False)
    sequence = first_rank_gib(name, "none", sequence_parallel=True)
    full = first_rank_gib(name, "full", sequence_parallel=False)
    assert round(100 * sequence / baseline, 1) == sequence_percent
    assert round(100 * full / baseline, 1) == full_percent


def test_gated_grouped_flash_layer_by_hand():
    """Llama-3 70B, 4096 tokens, bf16, no dropout, one rank; per token, in elements of 2 bytes.

    Norm and linear inputs 4 * 8192 = 32,768; queries and projection input 2 * 8192 = 16,384;
    keys and values 2 * 1024 = 2,048; gate, up and second input 3 * 28672 = 86,016: together
    137,216. The log-sum-exp adds 64 heads * 4 bytes.
    """
    expected = 4096 * (2 * 137_216 + 64 * 4)
    assert layer_activation_bytes(LLAMA_70B, shape(s=4096), FLASH, "none") == expected
    # Selective recomputation of a flash kernel only saves the log-sum-exp.
    saved = recompute_working_bytes(LLAMA_70B, shape(s=4096), FLASH, "selective")
    assert saved == 4096 * 64 * 4


def test_unfused_kernels_hold_more():
    one = shape(s=4096)
    held = layer_activation_bytes(LLAMA_70B, one, FLASH, "none")
    eager_gate = make_stack(attention="flash2", dropout=False, fused_bias_gelu=False)
    eager_norm = make_stack(attention="flash2", dropout=False, fused_norm=False)
    # The activated gate, 2 f; two norms keep an fp32 copy of their input, 4 h each.
    gate = layer_activation_bytes(LLAMA_70B, one, eager_gate, "none") - held
    norm = layer_activation_bytes(LLAMA_70B, one, eager_norm, "none") - held
    assert gate == 4096 * 2 * 28672
    assert norm == 4096 * 2 * 4 * 8192


def test_parallel_block_shares_its_norm():
    model = gpt(1, 2048, 16)
    parallel = dataclasses.replace(model, parallel_block=True)
    saved = layer_activation_bytes(model, shape(), MEGATRON, "none") - layer_activation_bytes(
        parallel, shape(), MEGATRON, "none"
    )
    # 4 sbh: one norm's input and output; 1 sbh: the mask of one hidden dropout
    assert saved == 5 * 2048 * 2048


def test_fp8_holds_the_inputs_of_linears_in_one_byte():
    model = gpt(1, 2048, 16)
    bf16 = layer_activation_bytes(model, shape(precision="bf16"), FLASH, "selective")
    fp8 = layer_activation_bytes(model, shape(precision="fp8"), FLASH, "selective")
    # QKV, projection and MLP inputs: h + h + h + 4h elements, one byte less each.
    assert bf16 - fp8 == 7 * 2048 * 2048


def test_a_few_layers_recompute_and_the_others_do_not():
    model, one = gpt(1, 2048, 16), shape()
    none, full = (layer_activation_bytes(model, one, MEGATRON, m) for m in ("none", "full"))

    def stage(num_recomputed):
        recompute = Recompute("full", num_recomputed)
        return stage_activation_bytes(model, one, MEGATRON, recompute, 4)

    assert stage(None) == 4 * full
    assert stage(1) == full + 3 * none
    assert stage(9) == 4 * full


def test_zero_bubble_holds_32_sbh_for_the_weight_gradient():
    # arXiv 2401.10241, Table 1: M_W = 32 s b h, M_B = s b h (34 + 5 a s / h).
    assert weight_gradient_held_bytes(gpt(1, 2048, 16), shape()) == 32 * 2048 * 2048


def test_projection_that_reads_a_copy_of_the_attention_output():
    """2 s b h more, dropped with the attention core."""
    model, copying = gpt(1, 2048, 16), make_stack(attention="flash2", copies_attention_output=True)
    plain = make_stack(attention="flash2")
    for mode, more in (("none", 2 * 2048 * 2048), ("selective", 0)):
        held = layer_activation_bytes(model, shape(), copying, mode)
        assert held == layer_activation_bytes(model, shape(), plain, mode) + more


def test_checkpoints_in_host_memory():
    """Recomputed layers hold nothing on the device, others what they do."""
    on_host = make_stack(attention="flash2", checkpoints_on_host=True)
    model = gpt(4, 2048, 16)
    assert layer_activation_bytes(model, shape(), on_host, "full") == 0
    whole = layer_activation_bytes(model, shape(), on_host, "none")
    plain = make_stack(attention="flash2")
    assert whole == layer_activation_bytes(model, shape(), plain, "none") > 0


def test_every_second_product():
    """Of 32 s b h without dropout: the 20 of products alone, less the keys, 2 s b h."""
    stack = make_stack(attention="flash2", dropout=False)
    held = layer_activation_bytes(gpt(1, 2048, 16), shape(), stack, "alternate")
    log_sum_exp = 4 * 2048 * 16
    assert held == 18 * 2048 * 2048 + log_sum_exp


def test_every_second_product_holds_no_copy_of_an_eager_norm():
    """The policy names operators to save; a norm's fp32 copies are none of them."""
    for mode, same in (("alternate", True), ("none", False)):
        eager, fused = (
            layer_activation_bytes(
                LLAMA_70B, shape(), make_stack(attention="flash2", fused_norm=norm), mode
            )
            for norm in (False, True)
        )
        assert bool(eager == fused) is same


def test_linears_that_cast_again_hold_their_16_bit_input():
    model, one = gpt(1, 2048, 16), shape(precision="fp8")
    recasting = dataclasses.replace(one, recasts=True)
    held = layer_activation_bytes(model, recasting, FLASH, "none")
    assert held == layer_activation_bytes(model, shape(precision="bf16"), FLASH, "none")


def test_products_of_matrices_alone():
    """Of 32 s b h without dropout stay q, k, v, their output 8, two residuals 4, 4h wide inputs 8.

    The inputs of three linears, 2 + 2 + 8, are computed again.
    """
    stack = make_stack(attention="flash2", dropout=False, recompute_elementwise=True)
    held = layer_activation_bytes(gpt(1, 2048, 16), shape(), stack, "selective")
    assert held == 20 * 2048 * 2048
    everything = layer_activation_bytes(gpt(1, 2048, 16), shape(), stack, "none")
    log_sum_exp = 4 * 2048 * 16
    assert everything == 32 * 2048 * 2048 + log_sum_exp


def test_embedding_and_output_by_section_4_3():
    model, sbh, v_over_h = gpt(1, 2048, 16), 2048 * 2048, 51200 / 2048
    assert embedding_activation_bytes(model, shape(), MEGATRON) == sbh
    assert embedding_activation_bytes(model, shape(), FLASH) == 0
    # 4 s b h (1 + v / h): norm and projection inputs, and fp32 logits.
    output = output_activation_bytes(model, shape()) + logits_bytes(model, shape(), MEGATRON)
    assert output == 4 * sbh * (1 + v_over_h)


# Measured by torch.cuda.max_memory_allocated on 8 B200, Megatron-LM, bf16 with fp32 gradients,
# 12 layers of Llama-3 70B, 4096 tokens (SimuMax, docs/b200, release 1.2).
@pytest.mark.parametrize(("tp", "state_gib", "measured_gib"), [
    (2, 51.84, 60.68), (4, 34.57, 39.07), (8, 25.95, 28.29),
])  # fmt: skip
def test_measured_allocator_peak(tp, state_gib, measured_gib):
    one = shape(s=4096, tp=tp, sp=True, precision="bf16")
    total = (
        12 * layer_activation_bytes(LLAMA_70B, one, FLASH, "none")
        + output_activation_bytes(LLAMA_70B, one)
        + logits_bytes(LLAMA_70B, one, FLASH)
        + backward_working_bytes(LLAMA_70B, one, FLASH, "none", has_output=True)
    )
    # The allocator rounds blocks to 2 MiB and keeps small tensors that are not modelled.
    assert state_gib + total / GIB == pytest.approx(measured_gib, rel=0.01)


models = st.builds(
    lambda heads, group, d, ffn, **fields: TransformerConfig(
        "any", 1, heads * d, ffn, heads, max(heads // group, 1), d, 1000, **fields
    ),
    heads=st.sampled_from([8, 16, 64]),
    group=st.sampled_from([1, 2, 8, 64]),
    d=st.sampled_from([64, 128]),
    ffn=st.integers(64, 40000),
    gated_mlp=st.booleans(),
    parallel_block=st.booleans(),
    normalization=st.sampled_from(["layernorm", "rmsnorm"]),
)
shapes = st.builds(
    MicrobatchShape,
    st.integers(1, 16),
    st.sampled_from([512, 4096, 131072]),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([1, 4]),
    st.booleans(),
    st.sampled_from(["fp32", "fp16", "bf16", "fp8"]),
)
stacks = st.builds(
    make_stack,
    attention=st.sampled_from(["unfused", "flash1", "flash2", "flash3"]),
    dropout=st.booleans(),
    fused_norm=st.booleans(),
    fused_bias_gelu=st.booleans(),
    cross_entropy=st.sampled_from(get_args(CrossEntropy)),
    gather_logits=st.booleans(),
    copies_attention_output=st.booleans(),
    recompute_elementwise=st.booleans(),
)


@given(models, shapes, stacks)
@settings(deadline=None)
def test_more_recomputation_never_holds_more(model, one, stack):
    full, selective, none = (
        layer_activation_bytes(model, one, stack, mode) for mode in ("full", "selective", "none")
    )
    assert 0 < full <= selective <= none
    assert full <= layer_activation_bytes(model, one, stack, "alternate") <= none
    assert none == total_bytes(layer_activation_items(model, one, stack))


@given(models, shapes, stacks, st.sampled_from(["none", "selective", "alternate", "full"]))
@settings(deadline=None)
def test_sequence_parallelism_never_holds_more(model, one, stack, mode):
    divided, whole = (
        layer_activation_bytes(model, dataclasses.replace(one, sequence_parallel=flag), stack, mode)
        for flag in (True, False)
    )
    assert divided <= whole


@given(models, shapes, stacks)
@settings(deadline=None)
def test_ranks_with_sequence_parallelism_hold_one_copy_of_the_layer(model, one, stack):
    if model.num_query_groups < one.tp:
        model = dataclasses.replace(model, num_query_groups=model.num_attention_heads)
    together = dataclasses.replace(one, sequence_parallel=True)
    alone = dataclasses.replace(one, tp=1)
    total = one.tp * layer_activation_bytes(model, together, stack, "none")
    assert total == pytest.approx(layer_activation_bytes(model, alone, stack, "none"), rel=1e-12)


@given(models, shapes, stacks, st.sampled_from(["none", "selective", "alternate", "full"]))
@settings(deadline=None)
def test_a_row_of_an_array_equals_the_scalar(model, one, stack, mode):
    column = dataclasses.replace(
        one,
        micro_batch_size=np.array([one.micro_batch_size, 3.0]),
        tp=np.array([float(one.tp), 4.0]),
        cp=np.array([float(one.cp), 2.0]),
    )

    def everything(a_shape):
        return np.array(
            [
                layer_activation_bytes(model, a_shape, stack, mode),
                backward_working_bytes(model, a_shape, stack, mode, has_output=False),
                backward_working_bytes(model, a_shape, stack, mode, has_output=True),
                weight_gradient_held_bytes(model, a_shape),
                output_activation_bytes(model, a_shape),
                logits_bytes(model, a_shape, stack),
            ]
        )

    assert np.array_equal(everything(column)[:, 0], everything(one))


def test_kept_queries_keys_and_values_lie_beside_the_input_of_the_layer():
    # Of 8192 columns, queries are 8192, keys and values of 8 heads 1024 each: 1.25 times more.
    whole = stage_activation_bytes(LLAMA_70B, shape(), FLASH, Recompute("full"), 1)
    kept = stage_activation_bytes(LLAMA_70B, shape(), FLASH, Recompute("full", keeps_qkv=True), 1)
    assert kept == 2.25 * whole
