"""What the loss holds, by kind, worked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from simulator.cost.activation import gradient_working_bytes
from simulator.cost.microbatch import MicrobatchShape
from simulator.cost.output_memory import (
    CROSS_ENTROPY,
    backward_working_bytes,
    logits_bytes,
    logits_working_bytes,
    num_logits,
)
from simulator.model import TransformerConfig
from simulator.spec.stacks import load_stack
from simulator.stack import CrossEntropy

MODEL = TransformerConfig("gpt", 1, 2048, 8192, 16, 16, 128, 51200)
SHAPE = MicrobatchShape(1, 2048, 1, 1, False, "bf16")
LOGITS = 2048 * 51200  # 104,857,600 on one rank
OTHERS = 2 * 51200 * 2048 + 2 * 2048 * 2048  # gradients of the matrix and of the hidden states


def stack(kind: str, **changes):
    return replace(load_stack("megatron-core-2024"), cross_entropy=kind, **changes)


@pytest.mark.parametrize(
    ("kind", "held", "working"),
    [
        # fp32 softmax, which becomes the gradient in place; then its bf16 copy.
        ("vocab_parallel", 4, 2),
        # bf16 logits, fp32 logits and their exponentials: 2 + 4 + 4, of which 4 stay.
        ("vocab_parallel_jit", 4, 6),
        # bf16 logits, which become their gradient in place.
        ("vocab_parallel_te", 2, 0),
        # fp32 log-softmax and bf16 logits; gradients of both steps in fp32.
        ("eager", 6, 8),
        # 16-bit logits and log-softmax; the gradients of both.
        ("eager_16_bit", 4, 4),
        # bf16 logits and their gradient.
        ("fused", 2, 2),
    ],
)
def test_bytes_per_logit(kind: str, held: int, working: int) -> None:
    assert logits_bytes(MODEL, SHAPE, stack(kind)) == held * LOGITS
    assert logits_working_bytes(MODEL, SHAPE, stack(kind)) == working * LOGITS + OTHERS


def test_every_kind_is_covered() -> None:
    assert set(CROSS_ENTROPY) == set(get_args(CrossEntropy))


def test_logits_are_divided_unless_they_are_gathered() -> None:
    on_four = replace(SHAPE, tp=4)
    assert num_logits(MODEL, on_four, stack("eager")) == LOGITS / 4
    assert num_logits(MODEL, on_four, stack("eager", gather_logits=True)) == LOGITS


def test_backward_of_the_last_stage_starts_with_the_loss() -> None:
    flash = stack("fused")
    layer = gradient_working_bytes(MODEL, SHAPE, flash)
    loss = logits_working_bytes(MODEL, SHAPE, flash)
    assert layer < loss
    assert backward_working_bytes(MODEL, SHAPE, flash, "none", has_output=False) == layer
    assert backward_working_bytes(MODEL, SHAPE, flash, "none", has_output=True) == loss
