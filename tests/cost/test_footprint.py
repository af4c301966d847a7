"""Model states and buffers: ZeRO's printed tables, and conservation over ranks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cost.footprint import (
    buffer_bytes,
    bytes_per_weight,
    largest_parameter,
    layer_rank_parameters,
    limited_buffers,
    model_state_bytes,
    norm_workspace_bytes,
    padded_vocab,
    stage_parameters,
)
from simulator.model import TransformerConfig, layer_parameters, num_parameters
from simulator.plan import OptimizerConfig, ParallelismPlan
from simulator.sharding import SHARDING

# ZeRO's K = 12: Adam moments 8 and a master copy of 4; fp16 gradients.
ADAM = OptimizerConfig("adam", 8, 4, gradient_bytes=2, gradient_reduce_bytes=2)
MEGATRON_ADAM = OptimizerConfig("adam", 8, 4, gradient_bytes=4, gradient_reduce_bytes=4)

# Table 1 of arXiv 1910.02054: GB per device, parameters in 1e9 -> ranks -> (P_os, P_os+g, all).
TABLE_1 = {
    7.5: {
        1: ("120", "120", "120"),
        4: ("52.5", "41.3", "30"),
        16: ("35.6", "21.6", "7.5"),
        64: ("31.4", "16.6", "1.88"),
        256: ("30.4", "15.4", "0.47"),
        1024: ("30.1", "15.1", "0.12"),
    },
    128: {
        1: ("2048", "2048", "2048"),
        4: ("896", "704", "512"),
        16: ("608", "368", "128"),
        64: ("536", "284", "32"),
        256: ("518", "263", "8"),
        1024: ("513", "257", "2"),
    },
    1000: {
        1: ("16000", "16000", "16000"),
        4: ("7000", "5500", "4000"),
        16: ("4750", "2875", "1000"),
        64: ("4187", "2218", "250"),
        256: ("4046", "2054", "62.5"),
        1024: ("4011", "2013", "15.6"),
    },
}
CELLS = [
    (size, ranks, policy, printed)
    for size, rows in TABLE_1.items()
    for ranks, row in rows.items()
    for policy, printed in zip(("zero1", "zero2", "zero3"), row, strict=True)
]


def state_gb(parameters: float, ranks: float, policy: str) -> float:
    states = model_state_bytes(
        parameters,
        policy=SHARDING[policy],
        shard_size=ranks,
        optimizer=ADAM,
        weight_bytes=bytes_per_weight("fp16"),
    )
    return states.total / 1e9


@pytest.mark.parametrize(("size", "ranks", "policy", "printed"), CELLS)
def test_zero_table_1(size, ranks, policy, printed):
    # One unit of the last printed digit: the table rounds some cells and cuts others off
    # (1T, 64 ranks, P_os is 4187.5 and printed 4187; 128B, 1024 ranks, P_os is 513.5 -> 513).
    unit = 10.0 ** -len(printed.partition(".")[2])
    assert state_gb(size * 1e9, ranks, policy) == pytest.approx(float(printed), abs=unit)


def test_zero_figure_1():
    # 7.5B, 64 ranks: 16*7.5 = 120; 4*7.5 + 90/64 = 31.4; 2*7.5 + 105/64 = 16.6; 120/64 = 1.9.
    got = [round(state_gb(7.5e9, 64, p), 1) for p in ("ddp", "zero1", "zero2", "zero3")]
    assert got == [120.0, 31.4, 16.6, 1.9]


@given(
    st.floats(1e6, 1e13),
    st.integers(1, 4096),
    st.sampled_from([ADAM, MEGATRON_ADAM]),
)
@settings(deadline=None)
def test_every_stage_holds_no_more_than_the_one_before(parameters, ranks, optimizer):
    totals = [
        model_state_bytes(
            parameters,
            policy=SHARDING[p],
            shard_size=ranks,
            optimizer=optimizer,
            weight_bytes=2,
        ).total
        for p in ("zero3", "zero2", "zero1", "ddp")
    ]
    # Ties at one rank differ by rounding only.
    assert all(a <= b * (1 + 1e-12) for a, b in pairwise(totals))


def test_states_of_the_ranks_of_a_group_sum_to_the_whole():
    whole = state_gb(7e9, 1, "ddp")
    assert 16 * state_gb(7e9, 16, "zero3") == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    ("vocab", "tp", "padded"),
    [
        (50257, 1, 50304),  # 393 * 128
        (50257, 8, 51200),  # 50 * 1024, as Megatron-LM prints
        (51200, 8, 51200),
        (128256, 2, 128256),  # 501 * 256
    ],
)
def test_padded_vocab(vocab, tp, padded):
    assert padded_vocab(vocab, tp) == padded


def gpt(**changes) -> TransformerConfig:
    fields = {
        "name": "gpt",
        "num_layers": 4,
        "hidden_size": 512,
        "ffn_hidden_size": 2048,
        "num_attention_heads": 8,
        "num_query_groups": 8,
        "head_dim": 64,
        "vocab_size": 1000,
        "max_position_embeddings": 256,
    }
    return TransformerConfig(**(fields | changes))


models = st.builds(
    lambda kv, **fields: gpt(num_query_groups=kv, **fields),
    kv=st.sampled_from([1, 2, 4, 8]),
    gated_mlp=st.booleans(),
    use_bias=st.booleans(),
    parallel_block=st.booleans(),
    tied_embeddings=st.booleans(),
    normalization=st.sampled_from(["layernorm", "rmsnorm"]),
    num_token_types=st.sampled_from([0, 2]),
    has_pooler=st.booleans(),
    vocab_size=st.integers(1, 5000),
)


@given(models)
@settings(deadline=None)
def test_one_rank_holds_the_model_and_its_padding(model):
    padding = padded_vocab(model.vocab_size, 1) - model.vocab_size
    columns = model.hidden_size * (1 if model.tied_embeddings else 2) + model.has_pooler
    held = stage_parameters(model, model.num_layers, has_embedding=True, has_output=True, tp=1)
    assert held == num_parameters(model) + padding * columns


@given(models, st.integers(1, 4))
@settings(deadline=None)
def test_stages_hold_one_more_table_when_it_is_tied(model, layers_in_first):
    first = stage_parameters(model, layers_in_first, has_embedding=True, has_output=False, tp=2)
    last = stage_parameters(
        model, model.num_layers - layers_in_first, has_embedding=False, has_output=True, tp=2
    )
    whole = stage_parameters(model, model.num_layers, has_embedding=True, has_output=True, tp=2)
    copy = padded_vocab(model.vocab_size, 2) / 2 * model.hidden_size
    assert first + last - whole == pytest.approx(copy * model.tied_embeddings, abs=1e-6)


@given(models, st.sampled_from([2, 4, 8]))
@settings(deadline=None)
def test_tensor_parallel_ranks_hold_the_layer_and_what_is_replicated(model, tp):
    hidden = model.hidden_size
    norms = (1 if model.parallel_block else 2) * hidden
    norms *= 2 if model.normalization == "layernorm" else 1
    row_biases = 2 * hidden if model.use_bias else 0
    # Key and value heads beyond one per group are copies, with their biases.
    copied_width = max(tp * model.head_dim - model.key_value_size, 0)
    copies = 2 * copied_width * (hidden + model.use_bias)
    replicated = (tp - 1) * (norms + row_biases) + copies
    total = tp * layer_rank_parameters(model, tp)
    assert total == pytest.approx(layer_parameters(model) + replicated, rel=1e-12)


def test_korthikanti_figure_1_parameters_and_optimizer():
    """22B on 8 ranks: 18 bytes per parameter of the layers.

    48 layers * 12 * 6144^2 / 8 = 2.718e9 matrix parameters; 18 bytes (weight 2, fp32 gradient 4,
    Adam 12) make 48.92 GB = 45.56 GiB (arXiv 2205.05198, Figure 1).
    """
    model = gpt(
        num_layers=48,
        hidden_size=6144,
        ffn_hidden_size=24576,
        vocab_size=51200,
        num_attention_heads=64,
        num_query_groups=64,
        head_dim=96,
    )
    parameters = 48 * layer_rank_parameters(model, 8)
    states = model_state_bytes(
        parameters, policy=SHARDING["ddp"], shard_size=1, optimizer=MEGATRON_ADAM, weight_bytes=2
    )
    # Biases and norms, which the figure leaves out, are 0.2 % of the layer.
    assert states.total / 2**30 == pytest.approx(45.56, rel=2e-3)


def plan(sharding: str, **changes) -> ParallelismPlan:
    fields = {
        "tp": 1,
        "pp": 1,
        "dp": 8,
        "cp": 1,
        "virtual_stages": 1,
        "schedule": "1f1b",
        "sharding": SHARDING[sharding],
        "sequence_parallel": False,
    }
    return ParallelismPlan(**(fields | changes))


def buffers(sharding: str, optimizer: OptimizerConfig = ADAM, **changes):
    # 10 layers of 100 parameters and 50 outside them.
    return buffer_bytes(
        1050.0,
        100.0,
        10.0,
        plan=plan(sharding, **changes),
        shard_size=8.0,
        optimizer=optimizer,
        weight_bytes=2,
    )


def test_gathered_weights_are_the_layers_in_use_and_all_outside_them():
    assert buffers("zero3", prefetch_depth=1).gathered_weights == (50 + 2 * 100) * 2
    # No more layers than there are.
    assert buffers("zero3", prefetch_depth=99).gathered_weights == 1050 * 2
    assert buffers("zero2").gathered_weights == 0


def test_gradient_buckets():
    assert buffers("zero3").gradient_buckets == 100 * 2  # one layer of fp16 gradients
    assert buffers("zero3", overlap_dp=True).gradient_buckets == 2 * 100 * 2
    assert buffers("zero2", bucket_bytes=300.0).gradient_buckets == 300
    assert buffers("zero2", bucket_bytes=1e9).gradient_buckets == 1050 * 2
    assert buffers("zero1").during_passes == 0


def test_the_optimizer_widens_its_shard_of_short_gradients():
    assert buffers("ddp").optimizer_step == 1050 * 4
    assert buffers("zero1").optimizer_step == 1050 / 8 * 4
    assert buffers("zero1", MEGATRON_ADAM).optimizer_step == 0


def test_largest_matrix():
    # 1000 rows are 1024 rows of 128; a gated MLP of width 4096 has 8192 rows.
    model = gpt(hidden_size=512, ffn_hidden_size=4096, vocab_size=1000, gated_mlp=True)
    assert largest_parameter(model, 2, has_table=True) == 8192 * 512 / 2
    model = gpt(hidden_size=512, ffn_hidden_size=256, vocab_size=1000)
    assert largest_parameter(model, 2, has_table=True) == 1024 * 512 / 2
    assert largest_parameter(model, 2, has_table=False) == 256 * 512 / 2


@pytest.mark.parametrize(
    ("sharding", "largest", "copied"),
    [("zero1", 100, 100), ("zero2", 1000, 125), ("ddp", 100, 0)],
)
def test_norm_of_the_largest_gradient_that_is_owned(sharding, largest, copied):
    """1000 parameters over 8 ranks: 125 each, in double."""
    workspace = norm_workspace_bytes(
        1000, largest, policy=SHARDING[sharding], shard_size=8, copy_bytes=8
    )
    assert workspace == 8 * copied


def test_deepspeed_gathers_less_than_two_layers():
    whole = buffers("zero3", overlap_dp=True)
    limits = {"weight_bytes": 2, "bucket_bytes": 150}
    few = limited_buffers(whole, 60, live_parameters=80, **limits)
    assert (few.gathered_weights, few.gradient_buckets) == (2 * 80, 150)
    # A matrix must be whole to be used.
    assert limited_buffers(whole, 90, live_parameters=80, **limits).gathered_weights == 2 * 90
    # A limit that is not reached changes nothing.
    limits["bucket_bytes"] = 1e9
    assert limited_buffers(whole, 60, live_parameters=1e9, **limits) == whole


def test_bytes_of_an_fp8_weight():
    # bf16, its cast and the transposed cast; the casts alone.
    assert bytes_per_weight("fp8") == 2 + 1 + 1
    assert bytes_per_weight("fp8", fp8_only=True) == 1 + 1
    assert bytes_per_weight("bf16", fp8_only=True) == 2


def test_a_second_gradient_is_never_divided():
    states = model_state_bytes(
        1000,
        policy=SHARDING["zero2"],
        shard_size=8,
        optimizer=MEGATRON_ADAM,
        weight_bytes=2,
        gradient_copy_bytes=2,
    )
    assert states.gradients == 4 * 1000 / 8 + 2 * 1000


def test_a_row_of_an_array_equals_the_scalar():
    tp = np.array([1.0, 2.0, 4.0, 8.0])
    shard = np.array([64.0, 32.0, 16.0, 8.0])
    model = gpt(num_query_groups=2)
    held = stage_parameters(model, 3.0, has_embedding=True, has_output=True, tp=tp)
    states = model_state_bytes(
        held, policy=SHARDING["zero2"], shard_size=shard, optimizer=ADAM, weight_bytes=2
    ).total
    for row in range(tp.size):
        one = stage_parameters(model, 3.0, has_embedding=True, has_output=True, tp=float(tp[row]))
        assert held[row] == one
        assert (
            states[row]
            == model_state_bytes(
                one,
                policy=SHARDING["zero2"],
                shard_size=float(shard[row]),
                optimizer=ADAM,
                weight_bytes=2,
            ).total
        )
