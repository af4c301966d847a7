"""Bytes of the vocabulary projection and the loss on the last stage.

Source: Korthikanti et al. 2022 (arXiv 2205.05198), section 4.3, for what Megatron-LM holds; the
code of the loss functions of ``CROSS_ENTROPY`` for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.cost.activation import gradient_working_bytes, recompute_working_bytes
from simulator.cost.footprint import FP32_BYTES, padded_vocab
from simulator.cost.microbatch import MicrobatchShape
from simulator.model import TransformerConfig
from simulator.numeric import Numeric
from simulator.plan import RecomputeMode
from simulator.stack import CrossEntropy, Stack


@dataclass(frozen=True, slots=True)
class LossTensors:
    """Tensors of the size of the logits that a loss has at once.

    Attributes:
        held_fp32, held_narrow: from forward to backward, in fp32 and in the activations' dtype.
        working_fp32, working_narrow: on top of them at the widest point.
    """

    held_fp32: int
    held_narrow: int
    working_fp32: int
    working_narrow: int


CROSS_ENTROPY: Final[Mapping[CrossEntropy, LossTensors]] = {
    "vocab_parallel": LossTensors(1, 0, 0, 1),
    "vocab_parallel_jit": LossTensors(1, 0, 1, 1),
    "vocab_parallel_te": LossTensors(0, 1, 0, 0),
    "eager": LossTensors(1, 1, 2, 0),
    "eager_16_bit": LossTensors(0, 2, 0, 2),
    "fused": LossTensors(0, 1, 0, 1),
}
"""The losses by the name in ``Stack.cross_entropy``.

* vocab_parallel: Megatron-LM, core/tensor_parallel/cross_entropy.py. Logits are divided by t; the
  fp32 softmax is made in place and becomes the gradient in place, then a 16-bit copy of it.
* vocab_parallel_jit: ``--cross-entropy-loss-fusion``, core/fusions/fused_cross_entropy.py. Compiled
  functions return new tensors: 16-bit logits, fp32 logits and their exponentials exist at once.
* vocab_parallel_te: ``--cross-entropy-fusion-impl te``, NVIDIA/TransformerEngine,
  pytorch/triton/cross_entropy.py. The 16-bit logits become their gradient in place.
* eager: ``torch.nn.functional.cross_entropy`` on an fp32 copy. Autograd holds the log-softmax, the
  caller the 16-bit logits; the backward makes the gradients of both of its steps in fp32.
* eager_16_bit: the same on the 16-bit logits as they are, normalised over the sequence as
  VIA-Research/vTrain@f8dda84 src/trainer.py calls it (its profile needs the time, not the loss).
* fused: one kernel on 16-bit logits, Dao-AILab/flash-attention, ops/triton/cross_entropy.py. Only
  the logits and their gradient.
"""


def num_logits(model: TransformerConfig, shape: MicrobatchShape, stack: Stack) -> Numeric:
    """Logits of a microbatch on one rank: s b v / t, s b v where the loss needs all of them."""
    shards = 1 if stack.gather_logits else shape.tp
    return shape.tokens * padded_vocab(model.vocab_size, shape.tp) / shards


def output_activation_bytes(model: TransformerConfig, shape: MicrobatchShape) -> Numeric:
    """Inputs of the final norm and of the vocabulary projection: 4 s b h.

    Source: arXiv 2205.05198, section 4.3.
    """
    return 2 * shape.element_bytes * shape.norm_tokens * model.hidden_size


def logits_bytes(model: TransformerConfig, shape: MicrobatchShape, stack: Stack) -> Numeric:
    """What the loss holds from forward to backward: Megatron-LM's fp32 softmax is 4 s b v / t.

    Source: arXiv 2205.05198, section 4.3, and ``CROSS_ENTROPY``.
    """
    loss = CROSS_ENTROPY[stack.cross_entropy]
    per_logit = loss.held_fp32 * FP32_BYTES + loss.held_narrow * shape.element_bytes
    return per_logit * num_logits(model, shape, stack)


def logits_working_bytes(model: TransformerConfig, shape: MicrobatchShape, stack: Stack) -> Numeric:
    """What the backward of loss and vocabulary projection adds at its widest point.

    The loss's own tensors, the new gradient of the vocabulary matrix, and the gradient of the
    hidden states, which is not divided by t.

    Source: ``CROSS_ENTROPY``; PyTorch autograd, which makes a gradient before it is accumulated.
    """
    element, loss = shape.element_bytes, CROSS_ENTROPY[stack.cross_entropy]
    per_logit = loss.working_fp32 * FP32_BYTES + loss.working_narrow * element
    rows = padded_vocab(model.vocab_size, shape.tp) / shape.tp
    hidden_gradients = shape.tokens * model.hidden_size * (2 if shape.sequence_parallel else 1)
    return per_logit * num_logits(model, shape, stack) + element * (
        rows * model.hidden_size + hidden_gradients
    )


def output_weight_gradient_held_bytes(model: TransformerConfig, shape: MicrobatchShape) -> Numeric:
    """What the vocabulary projection holds between B and W: its input and the logits' gradient."""
    hidden = shape.norm_tokens * model.hidden_size
    logits = shape.tokens * padded_vocab(model.vocab_size, shape.tp) / shape.tp
    return shape.linear_input_bytes * hidden + shape.element_bytes * logits


def backward_working_bytes(
    model: TransformerConfig,
    shape: MicrobatchShape,
    stack: Stack,
    mode: RecomputeMode,
    *,
    has_output: bool,
    experts: bool = False,
) -> Numeric:
    """What a backward op acquires for its own duration, on top of what forwards hold.

    One layer's recomputed rows and gradients. On the last stage the loss comes first; by the
    time the layers run, what it held is gone, though the op releases it only at its end.
    """
    layer = recompute_working_bytes(model, shape, stack, mode, experts=experts)
    layer = layer + gradient_working_bytes(model, shape, stack, experts=experts)
    if not has_output:
        return layer
    return np.maximum(
        logits_working_bytes(model, shape, stack), layer - logits_bytes(model, shape, stack)
    )
