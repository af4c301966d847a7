"""Kernels of layers with adapters, frozen, quantised and sampled weights."""

from pathlib import Path

import pytest

from simulator.fine_tuning import FineTuning
from simulator.model import TransformerConfig
from simulator.spec.models import ModelInput, load_model
from simulator.spec.stacks import load_stack
from simulator.workload.adapters import PLAIN, Tuning, frozen_block, tuned_layer
from simulator.workload.kernel import Block, Collective, Elementwise, Kernel, Matmul, Overlapped
from simulator.workload.layers import embedding_block, layer_block, output_block
from simulator.workload.linear import Split

LORA = Tuning(FineTuning(16, ("query", "value")))


def llama_7b() -> TransformerConfig:
    return load_model(ModelInput(preset="llama-7b"), "test", Path())[0]


def split(tp: int = 1) -> Split:
    return Split(1.0, 512, tp, tp > 1, False, tp > 1, 2.0, tp > 1)


def layer(tuning: Tuning, tp: int = 1) -> Block:
    block = layer_block(llama_7b(), split(tp), load_stack("pytorch-fsdp-2024"))
    return tuned_layer(block, llama_7b(), split(tp), tuning)


def products(kernels: tuple[Kernel, ...]) -> list[Matmul]:
    found = [k.compute if isinstance(k, Overlapped) else k for k in kernels]
    return [k for k in found if isinstance(k, Matmul)]


def flops(kernels: tuple[Kernel, ...]) -> float:
    return sum(2 * float(p.m) * float(p.n) * float(p.k) for p in products(kernels))


def test_plain_training_is_left_alone() -> None:
    block = layer_block(llama_7b(), split(), load_stack("pytorch-fsdp-2024"))
    assert tuned_layer(block, llama_7b(), split(), PLAIN) is block


def test_a_frozen_layer_computes_two_thirds() -> None:
    """Forward 2 N, input gradients 2 N: 4 N + of 6 N, with what adapters add by hand.

    A target: forward 2 T r (i + o), backward twice as much; T 512, r 16, i = o = 4096, 2 targets.
    """
    plain, tuned = layer(PLAIN), layer(LORA)
    weights = 4 * 4096**2 + 3 * 4096 * 11008
    adapters = 2 * 2 * 512 * 16 * (4096 + 4096)
    assert flops(plain.forward) + flops(plain.backward) == 6 * 512 * weights
    assert flops(tuned.forward) == 2 * 512 * weights + adapters
    assert flops(tuned.backward) == 2 * 512 * weights + 2 * adapters


def test_only_adapters_accumulate() -> None:
    names = [p.name for p in products(layer(LORA).backward) if p.accumulates]
    assert names == [
        "adapter.query.up.wgrad",
        "adapter.query.down.wgrad",
        "adapter.value.up.wgrad",
        "adapter.value.down.wgrad",
    ] or set(names) == {
        f"adapter.{target}.{side}.wgrad" for target in ("query", "value") for side in ("up", "down")
    }


def test_collectives_stay_when_what_they_hid_behind_is_gone() -> None:
    def collectives(block: Block) -> int:
        return sum(isinstance(k, Collective | Overlapped) for k in block.backward)

    plain, tuned = layer(PLAIN, tp=4), layer(LORA, tp=4)
    assert collectives(tuned) == collectives(plain)
    assert any(isinstance(k, Overlapped) for k in plain.backward)


@pytest.mark.parametrize("stored", ["nf4", "int8"])
def test_stored_weights_are_widened_before_every_use(stored: str) -> None:
    """Each of the layer's weights once in the forward, once for the input gradients."""
    tuning = Tuning(FineTuning(16, ("query",), "nf4"), "nf4" if stored == "nf4" else "int8")
    weights = 4 * 4096**2 + 3 * 4096 * 11008 + 2 * 16 * 0
    block = layer(tuning)
    for kernels in (block.forward, block.backward):
        widened = [
            k for k in kernels if isinstance(k, Elementwise) and k.family == f"dequantise_{stored}"
        ]
        assert sum(float(k.elements) for k in widened) == weights


def test_sampled_tokens_shorten_weight_gradients_only() -> None:
    """With 0.25 of 512 tokens, weight gradients take a quarter, all else as much."""
    plain, sampled = layer(PLAIN), layer(Tuning(keep_ratio=0.25))
    assert flops(sampled.forward) == flops(plain.forward)
    half = flops(plain.backward) / 2
    assert flops(sampled.backward) == pytest.approx(half + half / 4, rel=1e-12)
    norms = [k for k in sampled.forward if isinstance(k, Elementwise) and k.family == "row_norms"]
    # inputs of qkv 4096, output 4096, gate and up 4096, down 11008
    assert sum(float(k.elements) for k in norms) == 512 * (3 * 4096 + 11008)


def test_frozen_ends_have_no_weight_gradients() -> None:
    stack = load_stack("pytorch-fsdp-2024")
    output = frozen_block(output_block(llama_7b(), split(), stack))
    assert [p.name for p in products(output.backward)] == ["logits.dgrad"]
    first = frozen_block(embedding_block(llama_7b(), split(), stack), is_first=True)
    assert first.backward == ()
