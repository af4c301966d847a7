"""Cost of one pass of one microbatch through one pipeline stage.

A stage is its number of layers and whether it holds the embedding or the output; equal stages
share one ``StageKind``, so the cost of a 64-stage pipeline is computed three times.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from simulator.model import TransformerConfig
from simulator.numeric import Numeric
from simulator.plan import Recompute
from simulator.schedule.action import Phase
from simulator.workload.adapters import PLAIN, Tuning, frozen_block, tuned_layer
from simulator.workload.kernel import (
    Block,
    Collective,
    Elementwise,
    Kernel,
    Matmul,
    Overlapped,
)
from simulator.workload.layers import embedding_block, layer_block, output_block
from simulator.workload.linear import Split
from simulator.workload.price import KernelCost, PhaseCost, PriceContext, phase_cost
from simulator.workload.recompute import recomputed_kernels, recomputing_layers


@dataclass(frozen=True, slots=True)
class StageKind:
    """What a virtual stage holds."""

    num_layers: int
    has_embedding: bool
    has_output: bool

    @property
    def label(self) -> str:
        """``12 layers + embedding``."""
        embedding = " + embedding" if self.has_embedding else ""
        output = " + output" if self.has_output else ""
        return f"{self.num_layers} layers{embedding}{output}"


@dataclass(frozen=True, slots=True)
class StageCost:
    """Seconds of one phase of a stage, by time term, for one microbatch.

    Attributes:
        compute_s, recompute_s, overhead_s: scale with the speed of the rank.
        tp_comm_s: exposed tensor-parallel communication.
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

    @property
    def total_s(self) -> Numeric:
        """All terms."""
        return self.compute_s + self.recompute_s + self.overhead_s + self.tp_comm_s


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
        Elementwise(f"{product.name}.add", family, product.m * product.n)
        for product in products
        if isinstance(product, Matmul) and product.accumulates
    )


def _backward_kernels(block: Block, phase: Phase, *, splits: bool) -> tuple[Kernel, ...]:
    if not splits:
        return block.backward
    parts = [_weight_gradient(kernel) for kernel in block.backward]
    side = 1 if phase is Phase.W else 0
    return tuple(kernel for part in parts for kernel in part[side])


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
        layer_kernels = self._kernels("layer", phase)
        counts = {
            "layer": kind.num_layers,
            "embedding": int(kind.has_embedding),
            "output": int(kind.has_output),
        }
        parts = [
            (self._price(part, phase, self._kernels(part, phase)), count)
            for part, count in counts.items()
            if count or part == "layer"
        ]
        again = recomputed_kernels(self._block("layer"), self.recompute, stack, self.model)
        if num_again is None:
            num_again = recomputing_layers(kind.num_layers, self.recompute)
        if self.recompute.mode == "full" and stack.partition_activations:
            again = (*self._checkpoint_gather(), *again)
        again = again if phase is Phase.B else ()
        recomputed = self._price("recomputed", phase, again)
        device, exposed, flops = _totals(parts)
        extra, extra_comm = recomputed.device_s * num_again, recomputed.exposed_s * num_again
        passes, host_s = kind.num_layers, kind.num_layers * self._host_s(layer_kernels)
        if self.recompute.mode in ("alternate", "full") and again:
            passes, host_s = passes + num_again, host_s + num_again * self._host_s(again)
        layers, _ = parts[0]
        hidden_by = kind.num_layers * layers.device_s + extra
        if stack.collectives_hide_host:
            hidden_by = hidden_by + kind.num_layers * layers.exposed_s + extra_comm
        return StageCost(
            compute_s=device,
            recompute_s=extra,
            overhead_s=np.maximum(host_s - hidden_by, 0.0)
            + stack.layer_stall_s * passes
            + stack.microbatch_overhead_s
            + (stack.batch_overhead_s if phase is Phase.F else 0.0),
            tp_comm_s=exposed + extra_comm,
            flops=flops + recomputed.flops * num_again,
            recompute_flops=recomputed.flops * num_again,
            kernels=tuple(
                (cost, count)
                for part, count in [*parts, (recomputed, num_again)]
                for cost in part.by_kernel
            ),
        )

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
        """Kernels of a layer, the embedding or the output, made once."""
        if part not in self._blocks:
            kinds = {"layer": layer_block, "embedding": embedding_block, "output": output_block}
            block = kinds[part](self.model, self.split, self.context.stack)
            self._blocks[part] = self._tuned(part, block)
        return self._blocks[part]

    def _tuned(self, part: str, block: Block) -> Block:
        if part == "layer":
            return tuned_layer(block, self.model, self.split, self.tuning)
        if self.tuning.fine_tuning is None:
            return block
        return frozen_block(block, is_first=part == "embedding")


def _totals(parts: list[tuple[PhaseCost, int]]) -> tuple[Numeric, Numeric, Numeric]:
    device: Numeric = 0.0
    exposed: Numeric = 0.0
    flops: Numeric = 0.0
    for part, count in parts:
        device = device + part.device_s * count
        exposed = exposed + part.exposed_s * count
        flops = flops + part.flops * count
    return device, exposed, flops
