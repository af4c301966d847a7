"""Blocks of kernels as partial training changes them: adapters, frozen and quantised weights.

A frozen matrix has no weight gradient; its input gradient is still needed. An adapter adds two
thin products beside the matrix in the forward, and four in the backward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from simulator.cost.low_rank import rank_shape
from simulator.fine_tuning import BaseWeights, FineTuning, layer_matrices, op_of
from simulator.model import TransformerConfig
from simulator.numeric import Numeric
from simulator.workload.kernel import Block, Elementwise, Kernel, Matmul, Overlapped
from simulator.workload.linear import Split

DEQUANTISE: Final[Mapping[BaseWeights, str]] = {
    "int8": "dequantise_int8",
    "nf4": "dequantise_nf4",
}
"""Family of kernels that widens stored weights before a product reads them."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What is trained, and how the weights of layers are stored.

    Attributes:
        fine_tuning: None if all weights are trained.
        stored: form of the layers' weights.
        keep_ratio: share of the tokens in the products of weight gradients.
    """

    fine_tuning: FineTuning | None = None
    stored: BaseWeights = "training"
    keep_ratio: float = 1.0

    @property
    def plain(self) -> bool:
        """All weights are trained, as they are, on all tokens."""
        return self == PLAIN


PLAIN: Final = Tuning()
"""All weights are trained, as they are, on all tokens."""


def tuned_layer(block: Block, model: TransformerConfig, split: Split, tuning: Tuning) -> Block:
    """A layer's block with frozen, quantised or sampled weights, and its adapters."""
    if tuning.plain:
        return block
    forward = _widened(block.forward, tuning.stored)
    backward = _widened(block.backward, tuning.stored)
    if tuning.fine_tuning is not None:
        added = _adapters(model, split, tuning.fine_tuning)
        forward = _beside(forward, {op: pair.forward for op, pair in added.items()}, "")
        backward = _beside(backward, {op: pair.backward for op, pair in added.items()}, ".wgrad")
        backward = _without_weight_gradients(backward)
    if tuning.keep_ratio < 1:
        backward = _sampled(backward, tuning.keep_ratio)
        forward = _with_sampling(forward, tuning.keep_ratio, _trained_ops(model, tuning))
    return Block(forward, backward, block.core)


def _trained_ops(model: TransformerConfig, tuning: Tuning) -> set[str]:
    """Products whose inputs a weight gradient needs."""
    names = layer_matrices(model) if tuning.fine_tuning is None else tuning.fine_tuning.targets
    return {op_of(model, name) for name in names}


def frozen_block(block: Block, *, is_first: bool = False) -> Block:
    """A block outside the layers whose weights are frozen: no weight gradients.

    Args:
        block: the embedding, or the output.
        is_first: nothing before it is trained, so that it has no backward.
    """
    return Block(
        block.forward, () if is_first else _without_weight_gradients(block.backward), block.core
    )


def _product(kernel: Kernel) -> Matmul | None:
    match kernel:
        case Matmul():
            return kernel
        case Overlapped(compute=product):
            return product
        case _:
            return None


def _without_weight_gradients(kernels: tuple[Kernel, ...]) -> tuple[Kernel, ...]:
    """Without the products that accumulate, of the adapters excepted; collectives stay."""
    kept: list[Kernel] = []
    for kernel in kernels:
        product = _product(kernel)
        if product is None or not product.accumulates or product.name.startswith("adapter."):
            kept.append(kernel)
        elif isinstance(kernel, Overlapped):
            kept.append(kernel.collective)
    return tuple(kept)


def _adapters(model: TransformerConfig, split: Split, fine_tuning: FineTuning) -> dict[str, Block]:
    """Kernels of the adapters by the product that they stand beside.

    Forward: x A, (x A) B, and the scaled sum. Backward: gradients of both factors, of x A, and of
    x, which is added to that of the frozen matrix.
    """
    blocks: dict[str, Block] = {}
    tokens, rank = split.tokens, fine_tuning.rank
    for name in fine_tuning.targets:
        inputs, outputs = rank_shape(model, name, split.tp)
        label = f"adapter.{name}"
        forward = (
            Matmul(f"{label}.down", tokens, rank, inputs),
            Matmul(f"{label}.up", tokens, outputs, rank),
            Elementwise(f"{label}.add", "add", tokens * outputs),
        )
        backward = (
            Matmul(f"{label}.up.dgrad", tokens, rank, outputs),
            Matmul(f"{label}.up.wgrad", outputs, rank, tokens, accumulates=True),
            Matmul(f"{label}.down.dgrad", tokens, inputs, rank),
            Matmul(f"{label}.down.wgrad", rank, inputs, tokens, accumulates=True),
            Elementwise(f"{label}.add_gradient", "add", tokens * inputs),
        )
        op = op_of(model, name)
        blocks[op] = blocks.get(op, Block((), ())) + Block(forward, backward)
    return blocks


def _beside(
    kernels: tuple[Kernel, ...], added: Mapping[str, tuple[Kernel, ...]], suffix: str
) -> tuple[Kernel, ...]:
    """The kernels with others put after the products that they belong to."""
    found: list[Kernel] = []
    for kernel in kernels:
        found.append(kernel)
        product = _product(kernel)
        if product is not None and product.name.endswith(suffix):
            found.extend(added.get(product.name.removesuffix(suffix), ()))
    return tuple(found)


def _widened(kernels: tuple[Kernel, ...], stored: BaseWeights) -> tuple[Kernel, ...]:
    """Stored weights are widened before every product that reads them: forwards, input gradients.

    Source: bitsandbytes, autograd/_functions.py, MatMul4Bit: dequantises in forward and backward.
    """
    if stored not in DEQUANTISE:
        return kernels
    found: list[Kernel] = []
    for kernel in kernels:
        product = _product(kernel)
        if product is not None and not product.in_core and not product.accumulates:
            weights = product.n * product.k
            found.append(Elementwise(f"{product.name}.widen", DEQUANTISE[stored], weights))
        found.append(kernel)
    return tuple(found)


def _sampled(kernels: tuple[Kernel, ...], keep_ratio: float) -> tuple[Kernel, ...]:
    """Weight gradients over a part of the tokens, whose output gradients are gathered first.

    Source: arXiv 2305.15265, section 3.2: column-row pairs of X^T dY are sampled.
    """
    found: list[Kernel] = []
    for kernel in kernels:
        product = _product(kernel)
        if product is None or not product.accumulates:
            found.append(kernel)
            continue
        fewer = replace(product, k=product.k * keep_ratio)
        found.append(Elementwise(f"{product.name}.gather", "copy", fewer.k * product.m))
        found.append(replace(kernel, compute=fewer) if isinstance(kernel, Overlapped) else fewer)
    return tuple(found)


def _with_sampling(
    kernels: tuple[Kernel, ...], keep_ratio: float, ops: set[str]
) -> tuple[Kernel, ...]:
    """Norms of the rows of a linear's input, and a copy of those that are kept."""
    found: list[Kernel] = []
    for kernel in kernels:
        found.append(kernel)
        product = _product(kernel)
        if product is not None and product.name in ops:
            inputs: Numeric = product.m * product.k
            found.append(Elementwise(f"{product.name}.norms", "row_norms", inputs))
            found.append(Elementwise(f"{product.name}.keep", "copy", inputs * keep_ratio))
    return tuple(found)
