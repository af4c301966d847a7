"""Cost of one pass of one microbatch through one pipeline stage.

A stage is its number of layers and whether it holds the embedding or the output; equal stages
share one ``StageKind``, so the cost of a 64-stage pipeline is computed three times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from simulator.model import TransformerConfig
from simulator.numeric import Numeric
from simulator.plan import Recompute
from simulator.schedule.action import Phase
from simulator.stack import Stack
from simulator.workload.adapters import PLAIN, Tuning, frozen_block, tuned_layer
from simulator.workload.kernel import (
    Block,
    Collective,
    Elementwise,
    Kernel,
    Matmul,
    Overlapped,
)
from simulator.workload.layers import (
    embedding_block,
    expert_layer_block,
    layer_block,
    output_block,
)
from simulator.workload.linear import Split
from simulator.workload.price import KernelCost, PhaseCost, PriceContext, phase_cost
from simulator.workload.recompute import recomputed_kernels, recomputing_layers


@dataclass(frozen=True, slots=True)
class StageKind:
    """What a virtual stage holds."""

    num_layers: int
    has_embedding: bool
    has_output: bool
    num_expert_layers: int = 0

    @property
    def num_dense_layers(self) -> int:
        """Layers without experts."""
        return self.num_layers - self.num_expert_layers

    @property
    def num_pieces(self) -> int:
        """Pieces of a pass that is cut layer by layer; one where there is no layer."""
        return max(self.num_layers, 1)

    @property
    def layer_kinds(self) -> tuple[bool, ...]:
        """Whether its layers have experts, once for each kind; as if dense where it has none."""
        kinds = (False,) * (self.num_dense_layers > 0) + (True,) * (self.num_expert_layers > 0)
        return kinds or (False,)

    @property
    def label(self) -> str:
        """``12 layers + embedding``."""
        experts = f", {self.num_expert_layers} with experts" if self.num_expert_layers else ""
        embedding = " + embedding" if self.has_embedding else ""
        output = " + output" if self.has_output else ""
        return f"{self.num_layers} layers{experts}{embedding}{output}"


@dataclass(frozen=True, slots=True)
class StageCost:
    """Seconds of one phase of a stage, by time term, for one microbatch.

    Attributes:
        compute_s, recompute_s, overhead_s: scale with the speed of the rank.
        tp_comm_s, ep_comm_s: exposed tensor- and expert-parallel communication.
        flops: matrix FLOPs, recomputed ones included; recompute_flops: those alone.
        kernels: (cost of one kernel, times it runs).
    """

    compute_s: Numeric
    recompute_s: Numeric
    overhead_s: Numeric
    tp_comm_s: Numeric
    flops: Numeric
    recompute_flops: Numeric
    kernels: tuple[tuple[KernelCost, Numeric], ...]
    ep_comm_s: Numeric = 0.0

    @property
    def total_s(self) -> Numeric:
        """All terms."""
        exposed_s = self.tp_comm_s + self.ep_comm_s
        return self.compute_s + self.recompute_s + self.overhead_s + exposed_s


def _weight_gradient(kernel: Kernel) -> tuple[tuple[Kernel, ...], tuple[Kernel, ...]]:
    """A backward kernel as (what stays in B, what moves to W) when the backward is split."""
    match kernel:
        case Matmul(accumulates=True):
            return (), (kernel,)
        case Overlapped(collective=collective, compute=Matmul(accumulates=True) as product):
            return (collective,), (product,)
        case _:
            return (kernel,), ()


def _accumulation(kernels: tuple[Kernel, ...], gradient_bytes: float) -> tuple[Kernel, ...]:
    """Kernels that add the weight gradients among ``kernels`` to the accumulated ones."""
    family = "gradient_add_fp32" if gradient_bytes > 2 else "gradient_add"
    products = [k.compute if isinstance(k, Overlapped) else k for k in kernels]
    return tuple(
        Elementwise(f"{product.name}.add", family, product.batch * product.m * product.n)
        for product in products
        if isinstance(product, Matmul) and product.accumulates
    )


def _backward_kernels(block: Block, phase: Phase, *, splits: bool) -> tuple[Kernel, ...]:
    if not splits:
        return block.backward
    parts = [_weight_gradient(kernel) for kernel in block.backward]
    side = 1 if phase is Phase.W else 0
    return tuple(kernel for part in parts for kernel in part[side])


_BLOCKS: Final[Mapping[str, Callable[[TransformerConfig, Split, Stack], Block]]] = {
    "layer": layer_block,
    "expert_layer": expert_layer_block,
    "embedding": embedding_block,
    "output": output_block,
}
"""Parts of a model that are priced once, wherever they stand."""


@dataclass(frozen=True, slots=True)
class _LayerPasses:
    """Passes of one phase through the layers of one kind.

    Attributes:
        price, count: of a layer, and layers.
        again, num_again: of what one layer recomputes, and layers that do.
        passes: through layers, whole recomputations included; host_s: host time of all of them.
    """

    price: PhaseCost
    count: int
    again: PhaseCost
    num_again: Numeric
    passes: Numeric
    host_s: Numeric


@dataclass(frozen=True, slots=True)
class StagePricer:
    """Prices the phases of any stage of one model under one split.

    A layer, the embedding and the output are priced once, whatever stages they stand in.

    Attributes:
        gradient_bytes: of one element of an accumulated gradient.
        tuning: what is trained, where it is not all weights as they are.
    """

    model: TransformerConfig
    split: Split
    recompute: Recompute
    splits_backward: bool
    context: PriceContext
    gradient_bytes: float = 4.0
    tuning: Tuning = PLAIN
    _blocks: dict[str, Block] = field(
        default_factory=dict[str, Block], init=False, repr=False, compare=False
    )
    _phases: dict[tuple[str, Phase], tuple[Kernel, ...]] = field(
        default_factory=dict[tuple[str, Phase], tuple[Kernel, ...]],
        init=False,
        repr=False,
        compare=False,
    )
    _prices: dict[tuple[str, Phase], PhaseCost] = field(
        default_factory=dict[tuple[str, Phase], PhaseCost], init=False, repr=False, compare=False
    )

    def cost(self, kind: StageKind, phase: Phase, num_again: Numeric | None = None) -> StageCost:
        """Cost of one phase of one microbatch.

        Args:
            kind: what the stage holds.
            phase: forward or backward.
            num_again: layers that recompute; those of ``recompute`` when left out.

        Assumes: the host launches kernels ahead of the device, so its time shows only where it
        exceeds the device's; a stage whose layers wait for the host has no lead behind which the
        output could hide.
        """
        stack = self.context.stack
        if num_again is None:
            num_again = recomputing_layers(kind.num_layers, self.recompute)
        layers = self._layers(kind, phase, num_again)
        parts = [(one.price, one.count) for one in layers]
        for part, has in (("embedding", kind.has_embedding), ("output", kind.has_output)):
            if has:
                parts.append((self._price(part, phase, self._kernels(part, phase)), 1))
        recomputed = [(one.again, one.num_again) for one in layers]
        device, extra = (
            _total(parts, lambda cost: cost.device_s),
            _total(recomputed, lambda cost: cost.device_s),
        )
        again_flops = _total(recomputed, lambda cost: cost.flops)
        hidden_by = sum(one.count * one.price.device_s for one in layers) + extra
        if stack.collectives_hide_host:
            hidden_by = hidden_by + sum(one.count * one.price.exposed_s for one in layers)
            hidden_by = hidden_by + _total(recomputed, lambda cost: cost.exposed_s)
        host_s = sum(one.host_s for one in layers)
        return StageCost(
            compute_s=device,
            recompute_s=extra,
            overhead_s=np.maximum(host_s - hidden_by, 0.0)
            + stack.layer_stall_s * sum(one.passes for one in layers)
            + stack.microbatch_overhead_s
            + (stack.batch_overhead_s if phase is Phase.F else 0.0),
            tp_comm_s=_total(parts, lambda cost: cost.tp_exposed_s)
            + _total(recomputed, lambda cost: cost.tp_exposed_s),
            ep_comm_s=_total(parts, lambda cost: cost.ep_exposed_s)
            + _total(recomputed, lambda cost: cost.ep_exposed_s),
            flops=_total(parts, lambda cost: cost.flops) + again_flops,
            recompute_flops=again_flops,
            kernels=tuple(
                (cost, count) for part, count in [*parts, *recomputed] for cost in part.by_kernel
            ),
        )

    def _layers(
        self, kind: StageKind, phase: Phase, num_again: Numeric
    ) -> tuple[_LayerPasses, ...]:
        """The passes of a stage through its layers, without and with experts.

        Assumes: where only some layers recompute, all are of one kind (``expert_rules``). Where
            a pass is cut into pieces, layers with and without experts count alike.
        """
        counts = {"layer": kind.num_dense_layers, "expert_layer": kind.num_expert_layers}
        present = {part: count for part, count in counts.items() if count} or {"layer": 0}
        if len(present) == 1:
            return tuple(self._passes(part, phase, n, num_again) for part, n in present.items())
        recomputes = self.recompute.mode != "none"
        return tuple(self._passes(part, phase, n, n * recomputes) for part, n in present.items())

    def _passes(self, part: str, phase: Phase, count: int, num_again: Numeric) -> _LayerPasses:
        """So many passes through one kind of layer, of which some recompute."""
        kernels, again = self._kernels(part, phase), self._again(part, phase)
        passes, host_s = count, count * self._host_s(kernels)
        if self.recompute.mode in ("alternate", "full") and again:
            passes, host_s = passes + num_again, host_s + num_again * self._host_s(again)
        return _LayerPasses(
            price=self._price(part, phase, kernels),
            count=count,
            again=self._price(f"recomputed {part}", phase, again),
            num_again=num_again,
            passes=passes,
            host_s=host_s,
        )

    def _again(self, part: str, phase: Phase) -> tuple[Kernel, ...]:
        """Kernels of a layer that a backward runs again."""
        if phase is not Phase.B:
            return ()
        stack = self.context.stack
        again = recomputed_kernels(self._block(part), self.recompute, stack, self.model)
        if self.recompute.mode == "full" and stack.partition_activations:
            again = (*self._checkpoint_gather(), *again)
        return again

    def _host_s(self, kernels: tuple[Kernel, ...]) -> Numeric:
        """Host time of one pass through one layer: its launches, and those of its collectives."""
        stack = self.context.stack
        collectives = sum(isinstance(kernel, Collective | Overlapped) for kernel in kernels)
        return stack.layer_overhead_s + collectives * stack.collective_overhead_s

    def _checkpoint_gather(self) -> tuple[Kernel, ...]:
        """Puts together a layer's checkpoint that was cut over the tensor-parallel ranks."""
        split = self.split
        if not split.tensor_parallel or split.sequence_parallel:
            return ()
        payload = split.tokens * self.model.hidden_size * split.element_bytes
        return (Collective("checkpoint.all_gather", "all_gather", payload),)

    def _kernels(self, part: str, phase: Phase) -> tuple[Kernel, ...]:
        key = (part, phase)
        if key not in self._phases:
            self._phases[key] = self._phase_kernels(self._block(part), phase)
        return self._phases[key]

    def _phase_kernels(self, block: Block, phase: Phase) -> tuple[Kernel, ...]:
        if phase is Phase.F:
            return block.forward
        kernels = _backward_kernels(block, phase, splits=self.splits_backward)
        if self.context.stack.fused_gradient_accumulation:
            return kernels
        return kernels + _accumulation(kernels, self.gradient_bytes)

    def _price(self, part: str, phase: Phase, kernels: tuple[Kernel, ...]) -> PhaseCost:
        key = (part, phase)
        if key not in self._prices:
            self._prices[key] = phase_cost(kernels, self.context)
        return self._prices[key]

    def _block(self, part: str) -> Block:
        """Kernels of a part of the model, made once."""
        if part not in self._blocks:
            block = _BLOCKS[part](self.model, self.split, self.context.stack)
            self._blocks[part] = self._tuned(part, block)
        return self._blocks[part]

    def _tuned(self, part: str, block: Block) -> Block:
        if part == "layer":
            return tuned_layer(block, self.model, self.split, self.tuning)
        if self.tuning.fine_tuning is None:
            return block
        return frozen_block(block, is_first=part == "embedding")


def _total(
    parts: Sequence[tuple[PhaseCost, Numeric]], value: Callable[[PhaseCost], Numeric]
) -> Numeric:
    """Sum of one value of costs, each so many times."""
    total: Numeric = 0.0
    for part, count in parts:
        total = total + value(part) * count
    return total
