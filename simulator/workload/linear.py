"""Column- and row-parallel linear layers and the collectives they need.

Source: Shoeybi et al. 2019 (arXiv 1909.08053) section 3 for the conjugate f and g operators;
Korthikanti et al. 2022 (arXiv 2205.05198) section 4.2.2 for their sequence-parallel form and for
what the backward pass hides behind the weight gradient; Jiang et al. 2024 (arXiv 2402.15627)
section 3.2 for all-gather and reduce-scatter fused with the products (``overlap``);
Micikevicius et al. 2022 (arXiv 2209.05433) and NVIDIA/TransformerEngine (pytorch/module/linear.py)
for the casts of fp8 training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simulator.machine import BYTES_PER_ELEMENT
from simulator.numeric import Numeric
from simulator.tp_overlap import TpOverlap
from simulator.workload.kernel import (
    Block,
    Collective,
    Elementwise,
    Kernel,
    Matmul,
    Overlapped,
    word_bytes,
)

OVERLAP_CHUNKS = 4
"""Pieces a product and its collective are cut into when fused.

Assumes: MegaScale (section 3.2) cuts products into chunks but prints no number; a quarter of the
shorter of the two is then left exposed.
"""


@dataclass(frozen=True, slots=True)
class Split:
    """How the tensors of one microbatch are cut over ranks.

    Attributes:
        micro_batch: sequences, seq_length: tokens of each (whole), before any cut.
        tp: tensor-parallel ranks.
        sequence_parallel: activations outside the linears are cut over tp.
        overlap: collectives run chunk by chunk beside the products that need or make them.
        backward_overlap: without ``overlap``, the input-gradient collective hides behind the
            weight gradient.
        element_bytes: of activations on the wire.
        tensor_parallel: there is more than one tensor-parallel rank; structure, while ``tp`` may
            be a column of plans.
        quantises: linear layers compute in fp8.
        recasts: scales come from the tensor itself, and the backward casts the input again.
        ep: ranks over which experts are spread.
        expert_parallel: there is more than one of them; structure, as ``tensor_parallel`` is.
        capacity_factor: tokens that an expert computes, over its even share.
        cuts_experts: experts are cut over tp; else they are whole, and every rank routes its own
            tokens.
        chunked: reductions leave the products that feed them chunk by chunk; gathers are as without
            ``overlap``.
    """

    micro_batch: Numeric
    seq_length: int
    tp: Numeric
    sequence_parallel: bool
    overlap: bool
    backward_overlap: bool
    element_bytes: float
    tensor_parallel: bool
    quantises: bool = False
    recasts: bool = False
    ep: Numeric = 1
    expert_parallel: bool = False
    capacity_factor: float = 1.0
    cuts_experts: bool = True
    chunked: TpOverlap | None = None

    @property
    def tokens(self) -> Numeric:
        """Tokens of one microbatch."""
        return self.micro_batch * self.seq_length

    @property
    def local_tokens(self) -> Numeric:
        """Tokens whose activations outside the linears this rank holds."""
        return self.tokens / self.tp if self.sequence_parallel else self.tokens

    @property
    def gathered_bytes(self) -> float:
        """Of one element that a linear gathers over tp: what it casts, it casts before.

        Source: NVIDIA/TransformerEngine, pytorch/module/base.py, grad_output_preprocess ("cast,
            transpose for efficient gather"), and layernorm_linear.py, where the norm writes fp8.
        """
        return BYTES_PER_ELEMENT["fp8"] if self.quantises else self.element_bytes


def _beside(split: Split, collective: Collective, compute: Matmul, *, fused: bool) -> list[Kernel]:
    if fused and split.chunked is not None:
        return [Overlapped(collective, compute, how=split.chunked)]
    if fused and split.overlap:
        return [Overlapped(collective, compute, OVERLAP_CHUNKS)]
    if not fused and (split.overlap or split.backward_overlap):
        return [Overlapped(collective, compute)]
    return [compute, collective]


@dataclass(frozen=True, slots=True)
class _Cast:
    """What a linear casts to fp8.

    Attributes:
        inputs: elements of its input that this rank casts.
        outputs: the same of the gradient of its output.
        whole: elements of the one of them that is gathered over tp with sequence parallelism.
        after_norm: its input comes from a norm, of one kernel with it.
    """

    inputs: Numeric
    outputs: Numeric
    whole: Numeric
    after_norm: bool = False


def _with_casts(split: Split, block: Block, name: str, cast: _Cast) -> Block:
    """``block`` with its input and its output gradient cast to fp8 first.

    Every cast reads 16 bits and writes 8, and 8 more transposed for the weight gradient. Before a
    gather over tp the rank casts only its own tokens, and transposes all of them after it. A norm
    writes 8 bits itself; what it wrote is transposed in the backward, gathered or not.

    Where scales are dynamic, a kernel of its own finds the maximum first; the forward writes one
    layout, and the backward casts the 16-bit input again into the other.

    Args:
        split: of the microbatch.
        block: the products and their collectives.
        name: of the linear.
        cast: what is cast.

    Source: NVIDIA/TransformerEngine, pytorch/module/base.py, grad_output_preprocess, and
        layernorm_linear.py (the norm's output in fp8, ``fp8_transpose`` of it for the weight
        gradient); pytorch/ao, torchao/float8/float8_linear.py, matmul_with_hp_or_float8_args
        (saves ``input_hp``), and README.md, Performance ("max_abs and casting overhead").
    Assumes: but for norms, one kernel per cast, not fused into the kernel before it; weights are
        cast once per step (``StepCosts.optimizer_row``).
    """
    if not split.quantises:
        return block
    kind = "quantise_dynamic" if split.recasts else "quantise"
    enter = [Elementwise(f"{name}.quantise", kind, cast.inputs)]
    back = [Elementwise(f"{name}.quantise_gradient", kind, cast.outputs, backward=True)]
    gathers = split.tensor_parallel and split.sequence_parallel
    if split.recasts:
        again = Elementwise(f"{name}.quantise_again", "quantise_again", cast.inputs, backward=True)
        back.append(again)
    elif cast.after_norm or gathers:
        back.append(Elementwise(f"{name}.transpose", "transpose_fp8", cast.whole, backward=True))
    if cast.after_norm and not split.recasts:
        enter = []
    return Block((*enter, *block.forward), (*back, *block.backward))


def column_linear(
    name: str, split: Split, *, inputs: Numeric, outputs: Numeric, after_norm: bool = True
) -> Block:
    """Y = X A with A [inputs, outputs] cut by columns over tp.

    Forward: all-gather X (sequence parallel) then the product. Backward: input gradient, whose
    sum over tp is reduce-scattered or all-reduced, and weight gradient.

    Args:
        name: of the linear.
        split: of the microbatch.
        inputs: width of X.
        outputs: width of Y over all ranks.
        after_norm: X comes from a norm.
    """
    columns = outputs / split.tp
    block = _column_products(name, split, inputs, columns)
    cast = _Cast(
        inputs=split.local_tokens * inputs,
        outputs=split.tokens * columns,
        whole=split.tokens * inputs,
        after_norm=after_norm,
    )
    return _with_casts(split, block, name, cast)


def three_products(
    name: str, split: Split, inputs: Numeric, outputs: Numeric
) -> tuple[Matmul, Matmul, Matmul]:
    """The products Y = X A, and the gradients of X and of A, [inputs, outputs] on this rank."""
    tokens, fp8 = split.tokens, split.quantises
    inner, outer = (word_bytes(width * split.element_bytes) for width in (inputs, outputs))
    word = np.minimum(inner, outer)
    product = Matmul(name, tokens, outputs, inputs, quantised=fp8, word_bytes=word)
    return (
        product,
        replace(product, name=f"{name}.dgrad", n=inputs, k=outputs),
        replace(product, name=f"{name}.wgrad", m=outputs, n=inputs, k=tokens, accumulates=True),
    )


def _column_products(name: str, split: Split, inputs: Numeric, columns: Numeric) -> Block:
    tokens = split.tokens
    product, dgrad, wgrad = three_products(name, split, inputs, columns)
    if not split.tensor_parallel:
        return Block((product,), (dgrad, wgrad))
    payload = tokens * inputs * split.element_bytes
    if not split.sequence_parallel:
        reduce = Collective(f"{name}.all_reduce", "all_reduce", payload)
        if split.chunked is not None:
            return Block((product,), _chunked_backward(split, reduce, dgrad, wgrad))
        return Block((product,), (dgrad, *_beside(split, reduce, wgrad, fused=False)))
    gathered = tokens * inputs * split.gathered_bytes
    gather = Collective(f"{name}.all_gather", "all_gather", gathered)
    scatter = Collective(f"{name}.reduce_scatter", "reduce_scatter", payload)
    if split.chunked is not None:
        leaving = _beside(split, scatter, dgrad, fused=True)
        return Block((gather, product), (gather, *leaving, wgrad))
    forward = [Overlapped(gather, product, OVERLAP_CHUNKS)] if split.overlap else [gather, product]
    backward = [
        *_beside(split, gather, dgrad, fused=False),
        *_beside(split, scatter, wgrad, fused=False),
    ]
    return Block(tuple(forward), tuple(backward))


def _chunked_backward(
    split: Split, reduce: Collective, dgrad: Matmul, wgrad: Matmul
) -> tuple[Kernel, ...]:
    """An all-reduce whose first half leaves the input gradient chunk by chunk.

    The other half follows, or hides behind the weight gradient where the stack hides collectives.
    """
    if not split.backward_overlap:
        return (*_beside(split, reduce, dgrad, fused=True), wgrad)
    scatter = replace(reduce, name=f"{reduce.name}.scatter", kind="reduce_scatter")
    gather = replace(reduce, name=f"{reduce.name}.gather", kind="all_gather")
    return (
        *_beside(split, scatter, dgrad, fused=True),
        *_beside(split, gather, wgrad, fused=False),
    )


def row_linear(name: str, split: Split, *, inputs: Numeric, outputs: Numeric) -> Block:
    """Y = X A with A [inputs, outputs] cut by rows over tp.

    Forward: the product, then all-reduce or reduce-scatter of Y. Backward: all-gather of dY
    (sequence parallel), input and weight gradients.
    """
    rows = inputs / split.tp
    block = _row_products(name, split, rows, outputs)
    cast = _Cast(
        inputs=split.tokens * rows,
        outputs=split.local_tokens * outputs,
        whole=split.tokens * outputs,
    )
    return _with_casts(split, block, name, cast)


def _row_products(name: str, split: Split, rows: Numeric, outputs: Numeric) -> Block:
    tokens = split.tokens
    product, dgrad, wgrad = three_products(name, split, rows, outputs)
    if not split.tensor_parallel:
        return Block((product,), (dgrad, wgrad))
    payload = tokens * outputs * split.element_bytes
    if not split.sequence_parallel:
        reduce = Collective(f"{name}.all_reduce", "all_reduce", payload)
        return Block(tuple(_beside(split, reduce, product, fused=True)), (dgrad, wgrad))
    scatter = Collective(f"{name}.reduce_scatter", "reduce_scatter", payload)
    gathered = tokens * outputs * split.gathered_bytes
    gather = Collective(f"{name}.all_gather", "all_gather", gathered)
    backward = [Overlapped(gather, dgrad, OVERLAP_CHUNKS)] if split.overlap else [gather, dgrad]
    return Block(tuple(_beside(split, scatter, product, fused=True)), (*backward, wgrad))
