from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cost.attention import attention_flops
from simulator.cost.memory_bound import moved_bytes
from simulator.model import layer_matrix_parameters
from simulator.spec.stacks import load_stack
from simulator.workload.kernel import (
    Block,
    Collective,
    Elementwise,
    FusedAttention,
    Kernel,
    Matmul,
    Overlapped,
)
from simulator.workload.layers import embedding_block, layer_block, output_block
from simulator.workload.linear import Split, column_linear, row_linear
from tests import shapes

GPT = replace(shapes.GPT, num_layers=2)
UNFUSED = replace(load_stack("ideal"), attention="unfused")
FLASH = replace(load_stack("ideal"), attention="flash2")


def split(tp: int = 1, *, sequence_parallel: bool = False, overlap: bool = False) -> Split:
    return Split(
        micro_batch=2.0,
        seq_length=512,
        tp=tp,
        sequence_parallel=sequence_parallel,
        overlap=overlap,
        backward_overlap=False,
        element_bytes=2.0,
        tensor_parallel=tp > 1,
    )


def elementwise(kernels: tuple[Kernel, ...]) -> list[Elementwise]:
    return [k for k in kernels if isinstance(k, Elementwise)]


def matmuls(kernels: tuple[Kernel, ...]) -> list[Matmul]:
    found = [k.compute if isinstance(k, Overlapped) else k for k in kernels]
    return [k for k in found if isinstance(k, Matmul)]


def collectives(kernels: tuple[Kernel, ...]) -> list[Collective]:
    found = [k.collective if isinstance(k, Overlapped) else k for k in kernels]
    return [k for k in found if isinstance(k, Collective)]


def flops(kernels: tuple[Kernel, ...]) -> float:
    products = sum(2.0 * k.m * k.n * k.k * k.batch for k in matmuls(kernels))
    fused = sum(
        attention_flops(k.shape) * (2.5 if k.backward else 1.0)
        for k in kernels
        if isinstance(k, FusedAttention)
    )
    return float(products + fused)


def test_forward_flops_of_a_gpt_layer_are_24_b_s_h2_and_4_b_s2_h() -> None:
    # b = 2, s = 512, h = 1024: 24 * 2 * 512 * 1024^2 + 4 * 2 * 512^2 * 1024
    expected = 24 * 2 * 512 * 1024**2 + 4 * 2 * 512**2 * 1024
    assert flops(layer_block(GPT, split(), UNFUSED).forward) == expected


def test_backward_is_twice_the_forward_without_fused_attention() -> None:
    block = layer_block(GPT, split(), UNFUSED)
    assert flops(block.backward) == 2 * flops(block.forward)


@settings(deadline=None)
@given(
    tp=st.sampled_from([1, 2, 4, 8]),
    gated=st.booleans(),
    groups=st.sampled_from([8, 16]),
    parallel=st.booleans(),
    sequence_parallel=st.booleans(),
    overlap=st.booleans(),
)
def test_matrix_flops_are_two_per_weight_and_token(
    tp: int, gated: bool, groups: int, parallel: bool, sequence_parallel: bool, overlap: bool
) -> None:
    model = replace(GPT, gated_mlp=gated, num_query_groups=groups, parallel_block=parallel)
    cut = split(tp, sequence_parallel=sequence_parallel, overlap=overlap)
    block = layer_block(model, cut, FLASH)
    linear = sum(2.0 * k.m * k.n * k.k for k in matmuls(block.forward))
    assert linear * tp == pytest.approx(2 * 2 * 512 * layer_matrix_parameters(model), rel=1e-12)
    assert sum(2.0 * k.m * k.n * k.k for k in matmuls(block.backward)) == pytest.approx(2 * linear)


@pytest.mark.parametrize(
    ("sequence_parallel", "forward", "backward"),
    [
        (False, ["all_reduce"] * 2, ["all_reduce"] * 2),
        (
            True,
            ["all_gather", "reduce_scatter"] * 2,
            # row: gather dY; column: gather X again, scatter dX
            ["all_gather", "all_gather", "reduce_scatter"] * 2,
        ),
    ],
)
def test_collectives_of_a_layer(
    sequence_parallel: bool, forward: list[str], backward: list[str]
) -> None:
    block = layer_block(GPT, split(8, sequence_parallel=sequence_parallel), UNFUSED)
    assert [c.kind for c in collectives(block.forward)] == forward
    assert [c.kind for c in collectives(block.backward)] == backward
    assert {c.payload_bytes for c in collectives(block.forward)} == {2 * 512 * 1024 * 2.0}


def test_parallel_block_halves_the_collectives() -> None:
    serial = layer_block(GPT, split(8), FLASH)
    parallel = layer_block(replace(GPT, parallel_block=True), split(8), FLASH)
    assert len(collectives(parallel.forward)) * 2 == len(collectives(serial.forward))


def test_no_collectives_without_tensor_parallelism() -> None:
    block = layer_block(GPT, split(1), UNFUSED)
    assert collectives(block.forward + block.backward) == []


def test_selective_recomputation_runs_the_attention_core_again() -> None:
    core = layer_block(GPT, split(), UNFUSED).core
    assert flops(core) == 4 * 2 * 512**2 * 1024  # both products of the scores
    assert [k.name for k in core if isinstance(k, Elementwise)] == ["softmax"]


@pytest.mark.parametrize(
    ("tp", "family"),
    [
        # 2 sequences x 16 heads / 4 ranks are 8 matrices of scores; over 16 ranks 2.
        (4, "softmax_fused"),
        (16, "softmax_eager_fp32"),
    ],
)
def test_the_fused_softmax_takes_matrices_by_fours(tp: int, family: str) -> None:
    by_fours = replace(UNFUSED, fused_softmax=True, softmax_multiple=4)
    block = layer_block(GPT, split(tp), by_fours)
    for kernels in (block.forward, block.backward):
        (softmax,) = [k for k in elementwise(kernels) if k.name.startswith("softmax")]
        assert softmax.family == family
        assert softmax.elements == 32 / tp * 512**2
    any_number = replace(by_fours, softmax_multiple=1)
    families = {k.family for k in elementwise(layer_block(GPT, split(16), any_number).forward)}
    assert "softmax_fused" in families


def test_softmax_of_a_column_of_plans_is_that_of_each() -> None:
    by_fours = replace(UNFUSED, fused_softmax=True, softmax_multiple=4)
    column = replace(split(4), tp=np.array([4.0, 16.0]))
    kernels = elementwise(layer_block(GPT, column, by_fours).forward)
    fused, eager = [k.elements for k in kernels if k.name == "softmax"]
    assert np.asarray(fused).tolist() == [8 * 512**2, 0]
    assert np.asarray(eager).tolist() == [0, 2 * 512**2]


def test_overlap_pairs_every_collective_with_the_product_beside_it() -> None:
    block = layer_block(GPT, split(8, sequence_parallel=True, overlap=True), FLASH)
    assert not any(isinstance(k, Collective) for k in block.forward + block.backward)
    assert len([k for k in block.forward if isinstance(k, Overlapped)]) == 4


def test_column_and_row_linear_weight_gradients_accumulate() -> None:
    for make in (column_linear, row_linear):
        block = make("x", split(2), inputs=64.0, outputs=128.0)
        assert [k.accumulates for k in matmuls(block.backward)] == [False, True]


def test_output_block_projects_onto_the_padded_vocabulary() -> None:
    model = replace(GPT, vocab_size=50257)
    logits = matmuls(output_block(model, split(8), FLASH).forward)[0]
    # 50257 -> multiple of 128 * 8 = 1024: 51200; each rank has 6400
    assert (logits.m, logits.n, logits.k) == (1024, 6400, 1024)


def test_a_vocabulary_that_is_not_padded_has_odd_rows() -> None:
    model = replace(GPT, vocab_size=50257)
    stack = replace(FLASH, pads_vocabulary=False)
    words = []
    for tp, columns in ((1, 50257), (2, 25128), (4, 12564)):
        block = output_block(model, split(tp), stack)
        products = [*matmuls(block.forward), *matmuls(block.backward)]
        assert products[0].n == columns
        (word,) = {int(product.word_bytes) for product in products}
        words.append(word)
    # 2 x 50257 is a multiple of 2, 2 x 25128 = 16 x 3141, 2 x 12564 = 8 x 3141
    assert words == [2, 16, 8]


def test_embedding_sums_over_the_tensor_parallel_group() -> None:
    assert [c.kind for c in collectives(embedding_block(GPT, split(8), FLASH).forward)] == [
        "all_reduce"
    ]


def test_blocks_concatenate_forward_and_reverse_backward() -> None:
    a = Block((Matmul("a", 1, 1, 1),), (Matmul("a'", 1, 1, 1),))
    b = Block((Matmul("b", 1, 1, 1),), (Matmul("b'", 1, 1, 1),))
    both = a + b
    assert [k.name for k in matmuls(both.forward)] == ["a", "b"]
    assert [k.name for k in matmuls(both.backward)] == ["b'", "a'"]


def test_fp8_casts_what_no_norm_wrote_and_the_output_gradient_of_every_linear() -> None:
    # tokens 2 * 512 = 1024, h = 1024: inputs of attention_out and mlp_out are h and 4h wide;
    # gradients of the outputs of qkv, attention_out, mlp_in and mlp_out 3h, h, 4h, h. The norms
    # before qkv and mlp_in write 8 bits, which are transposed for the weight gradient.
    block = layer_block(GPT, replace(split(), quantises=True), FLASH)

    def cast(kernels: tuple[Kernel, ...], family: str = "quantise") -> list[float]:
        found = [k for k in kernels if isinstance(k, Elementwise) and k.family == family]
        return [float(k.elements) / (1024 * 1024) for k in found]

    assert cast(block.forward) == [1, 4]
    assert cast(block.backward) == [1, 4, 1, 3]
    assert cast(block.backward, "transpose_fp8") == [1, 1]
    assert all(k.quantised for k in matmuls(block.forward + block.backward))


def test_dynamic_scales_cast_every_input_again_in_the_backward() -> None:
    # 256 inputs and 512 outputs per token, 1024 tokens. Forward: maximum 2, read 2, write 1 bytes.
    # Backward: of the gradient 2 + 2 + 2, and of the input, whose maximum is kept, 2 + 1.
    dynamic = replace(split(), quantises=True, recasts=True)
    block = column_linear("qkv", dynamic, inputs=256, outputs=512)
    casts = [k for k in block.forward + block.backward if isinstance(k, Elementwise)]
    moved = [moved_bytes(k.family, k.elements, 2.0, backward=k.backward) / 1024 for k in casts]
    assert moved == [256 * 5, 512 * 6, 256 * 3]


def test_with_sequence_parallelism_a_rank_casts_its_own_tokens_before_the_gather() -> None:
    # tp = 4: qkv gathers what the norm wrote; its output has 3h / 4 columns of all tokens.
    whole = replace(split(tp=4, sequence_parallel=True), quantises=True)
    block = column_linear("qkv", whole, inputs=1024, outputs=3072)
    assert not any(isinstance(k, Elementwise) for k in block.forward)
    back = block.backward[0]
    assert isinstance(back, Elementwise)
    assert back.elements == 1024 * 768
    # attention_out gathers the gradient of its output: 1024 / 4 tokens of h are cast before.
    out = row_linear("attention_out", whole, inputs=1024, outputs=1024).backward
    assert [float(k.elements) for k in out if isinstance(k, Elementwise)] == [256 * 1024, 2**20]
    # What travels is fp8, one byte each, and is transposed when all 1024 tokens are there; the sum
    # of the input gradient is in 16 bits.
    assert {(c.kind, c.payload_bytes) for c in collectives(block.forward + block.backward)} == {
        ("all_gather", 1024 * 1024 * 1.0),
        ("reduce_scatter", 1024 * 1024 * 2.0),
    }
    transpose = block.backward[1]
    assert isinstance(transpose, Elementwise)
    assert (transpose.family, transpose.elements) == ("transpose_fp8", 1024 * 1024)


def test_the_vocabulary_projection_stays_in_16_bits() -> None:
    block = output_block(GPT, replace(split(), quantises=True), FLASH)
    assert not any(k.quantised for k in matmuls(block.forward + block.backward))
