"""Kernels -> seconds: the one ``match`` on kernel kinds.

Every number may be a column of a batch; nothing here branches on one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, assert_never

import numpy as np

from simulator.cost.attention import (
    BACKWARD_FLOPS,
    attention_curve,
    attention_flops,
    flash_attention_s,
)
from simulator.cost.chunked import chunked_s, near_memory_bytes, sm_slowdown
from simulator.cost.collective import bus_bytes, collective_s
from simulator.cost.compute import Matmul as MatmulShape
from simulator.cost.compute import matmul_dram_s, matmul_flops, matmul_s
from simulator.cost.memory_bound import elementwise_s, moved_bytes
from simulator.machine import BYTES_PER_ELEMENT, Accelerator, GroupLink
from simulator.numeric import Numeric
from simulator.stack import Stack
from simulator.tp_overlap import TpOverlap
from simulator.workload.kernel import (
    WIDEST_LOAD_BYTES,
    Collective,
    Elementwise,
    FusedAttention,
    Kernel,
    Matmul,
    Overlapped,
)

OVERLAP_SLOWDOWN: Final = 0.189
"""Share by which compute is slower while a collective runs beside it: it holds SMs and memory
bandwidth. Source: mean over 4xA100, H100, MI250 and MI210 of arXiv 2507.03114 (abstract), GPT and
LLaMA.

Assumes: as much for every collective, of tensor and of data parallelism (that the mean is over both
is from memory) and for those that leave the node: they move less per second through device memory,
but hold as many SMs (DeepSeek-V3 sets 20 of 132 aside, 15 %: arXiv 2412.19437, 3.2.2)."""

MISALIGNED_SLOWDOWN: Final = 3.0
"""Time of a product whose rows start at multiples of 2 bytes, over that of an aligned one.

Source: PyTorch, "Accelerating Large Language Models with Accelerated Transformers" (18 April 2023):
    on A100, padding the vocabulary of nanoGPT from 50,257 to 50,304 makes the products of the
    output layer "nearly 3x" faster, and a step take 87 instead of 113 ms.
Assumes: the same on other accelerators; rows at multiples of 4 or 8 bytes cost nothing, as nothing
    measured was found.
"""
_ASYNCHRONOUS_COPY_BYTES: Final = 4
"""Least word that a copy from DRAM to shared memory takes without passing the registers.

Source: NVIDIA, PTX ISA, ``cp.async``: 4, 8 or 16 bytes.
"""


@dataclass(frozen=True, slots=True)
class PriceContext:
    """Where kernels run.

    Attributes:
        links: axis name -> what its group sees of the machine.
        precision: of the linear layers of the transformer. When they run in fp8, attention and
            the vocabulary projection stay in 16 bits.
    """

    accelerator: Accelerator
    stack: Stack
    precision: str
    links: Mapping[str, GroupLink]

    @property
    def activation_bytes(self) -> float:
        """Bytes of one activation element: 16 bits unless training in fp32."""
        return max(BYTES_PER_ELEMENT[self.precision], 2.0)

    @property
    def wide_precision(self) -> str:
        """Precision of products whose operands are not quantised."""
        return "bf16" if self.precision == "fp8" else self.precision


@dataclass(frozen=True, slots=True)
class KernelCost:
    """Seconds of one kernel on an undisturbed device.

    Attributes:
        device_s: time the device computes; scales with a rank's speed.
        exposed_s: time it waits for communication.
        flops: matrix FLOPs, moved_bytes: DRAM traffic (memory-bound kernels only).
        family: what the report groups it under.
        axis: of the group it waits for.
        payload_bytes: of a collective that nothing runs beside.
    """

    family: str
    device_s: Numeric
    exposed_s: Numeric
    flops: Numeric
    moved_bytes: Numeric
    axis: str = "tp"
    payload_bytes: Numeric = 0.0

    @property
    def total_s(self) -> Numeric:
        """Device time and exposed communication."""
        return self.device_s + self.exposed_s


def _product_s(
    kernel: Matmul,
    shape: MatmulShape,
    accelerator: Accelerator,
    precision: str,
    free_sms_fraction: float,
) -> Numeric:
    """``matmul_s`` of the product, slower where its rows do not start where tensor cores load.

    Batched products of such rows run on the CUDA cores, at the fp32 rate; plain ones stay on tensor
    cores, with narrow loads.

    Assumes: the former was seen in BLOOM's heads of 108 and 150 numbers alone, rows marked test
        among them (benchmarks/published/findings.yaml); that cuBLAS pads or copies the operands of
        plain products, but not of batched ones, would explain the difference.
    """
    seconds = matmul_s(shape, accelerator, precision, free_sms_fraction=free_sms_fraction)
    if not kernel.in_core:
        narrow = np.less(kernel.word_bytes, _ASYNCHRONOUS_COPY_BYTES)
        return seconds * np.where(narrow, MISALIGNED_SLOWDOWN, 1.0)
    misaligned = np.less(kernel.word_bytes, WIDEST_LOAD_BYTES)
    if "fp32" not in accelerator.peak_flops_per_s:
        return seconds
    return np.where(misaligned, matmul_s(shape, accelerator, "fp32"), seconds)


def _precision(kernel: Matmul, context: PriceContext) -> str:
    return context.precision if kernel.quantised else context.wide_precision


def _shape(kernel: Matmul, context: PriceContext) -> MatmulShape:
    return MatmulShape(
        kernel.m,
        kernel.n,
        kernel.k,
        batch=kernel.batch,
        element_bytes=BYTES_PER_ELEMENT[_precision(kernel, context)],
        # An fp32 accumulator is read and written.
        out_bytes=8.0
        if kernel.accumulates and context.stack.fused_gradient_accumulation
        else context.activation_bytes,
    )


def _matmul_cost(
    kernel: Matmul, context: PriceContext, free_sms_fraction: float = 1.0
) -> KernelCost:
    precision = _precision(kernel, context)
    shape = _shape(kernel, context)
    seconds = _product_s(kernel, shape, context.accelerator, precision, free_sms_fraction)
    flops = matmul_flops(kernel.m, kernel.n, kernel.k, kernel.batch)
    family = "attention" if kernel.in_core else "linear"
    return KernelCost(family, seconds * context.stack.gemm_scale, 0.0, flops, 0.0)


def _attention_cost(kernel: FusedAttention, context: PriceContext) -> KernelCost:
    accelerator = context.accelerator
    curve, _ = attention_curve(accelerator, context.stack.attention, kernel.shape.head_dim)
    seconds = flash_attention_s(kernel.shape, curve, accelerator.num_sms, backward=kernel.backward)
    # Fused kernels are measured in 16 bits; in wider numbers they keep their share of the peak.
    peaks = accelerator.peak_flops_per_s
    measured_in = peaks.get("bf16") or peaks["fp16"]
    seconds = seconds * max(measured_in / peaks[context.wide_precision], 1.0)
    flops = attention_flops(kernel.shape) * (BACKWARD_FLOPS if kernel.backward else 1.0)
    return KernelCost("attention", seconds * context.stack.attention_scale, 0.0, flops, 0.0)


def _elementwise_cost(kernel: Elementwise, context: PriceContext) -> KernelCost:
    element_bytes = context.activation_bytes
    moved = moved_bytes(kernel.family, kernel.elements, element_bytes, backward=kernel.backward)
    seconds = elementwise_s(
        kernel.family,
        kernel.elements,
        element_bytes,
        context.accelerator,
        backward=kernel.backward,
    )
    return KernelCost(kernel.family, seconds * context.stack.memory_scale, 0.0, 0.0, moved)


def _collective_cost(kernel: Collective, context: PriceContext) -> KernelCost:
    seconds = collective_s(kernel.kind, kernel.payload_bytes, context.links[kernel.axis])
    family, payload = f"{kernel.axis} {kernel.kind}", kernel.payload_bytes
    return KernelCost(family, 0.0, seconds, 0.0, 0.0, kernel.axis, payload)


def slowed_s(compute_s: Numeric, beside_s: Numeric, accelerator: Accelerator) -> Numeric:
    """Seconds by which compute takes longer for collectives of a given length beside it.

    None on a TPU, whose chips exchange by remote DMA (JAX, ``pallas.tpu.async_remote_copy``).
    """
    share = 0.0 if accelerator.architecture == "tpu" else OVERLAP_SLOWDOWN
    return share * np.minimum(compute_s, beside_s)


def _overlapped_cost(kernel: Overlapped, context: PriceContext) -> KernelCost:
    """Longest of the two, plus the slow-down of compute under communication, plus pipeline fill.

    With C chunks, 1/C of the shorter one cannot overlap. Never slower than one after the other.
    """
    compute = _matmul_cost(kernel.compute, context)
    comm_s = _collective_cost(kernel.collective, context).exposed_s
    shorter = np.minimum(compute.device_s, comm_s)
    fill = shorter / kernel.chunks if kernel.chunks > 1 else 0.0
    slowed = slowed_s(compute.device_s, comm_s, context.accelerator)
    together = np.maximum(compute.device_s, comm_s) + fill + slowed
    total = np.minimum(together, compute.device_s + comm_s)
    return KernelCost(
        compute.family, compute.device_s, total - compute.device_s, compute.flops, 0.0
    )


def _chunked_cost(kernel: Overlapped, how: TpOverlap, context: PriceContext) -> KernelCost:
    """A product and its reduction in chunks; of an all-reduce the gathering half follows.

    A communication kernel takes SMs from the product and is bound by them itself. Copy engines take
    DRAM: all they move delays the product, or only what DRAM cannot carry while both run.

    Source: T3 (arXiv 2401.16677).
    Assumes: chunks of a product are as fast as the whole; an all-reduce takes as long as its halves
        one after the other.
    """
    collective, accelerator = kernel.collective, context.accelerator
    link = context.links[collective.axis]
    compute = _matmul_cost(kernel.compute, context)
    scatter_s = collective_s("reduce_scatter", collective.payload_bytes, link)
    chunks = link.size if how.chunks is None else how.chunks
    if how.mode == "sm":
        free = 1.0 - how.communication_sms / accelerator.num_sms
        product_s = _matmul_cost(kernel.compute, context, free).device_s
        together = chunked_s(product_s, scatter_s * sm_slowdown(how.communication_sms), chunks)
    else:
        product_s = compute.device_s
        moved = near_memory_bytes(bus_bytes("reduce_scatter", collective.payload_bytes, link.size))
        rate = accelerator.gemm.bandwidth_fraction * accelerator.memory_bandwidth_bytes_per_s
        moved_s = moved / rate
        dram_s = matmul_dram_s(_shape(kernel.compute, context), accelerator) + moved_s
        if how.dram == "shared":
            product_s = product_s + moved_s
        together = chunked_s(product_s, scatter_s, chunks)
        if how.dram == "arbitrated":
            together = np.maximum(together, dram_s)
    if collective.kind == "all_reduce":
        together = together + collective_s("all_gather", collective.payload_bytes, link)
    waits_s = together - compute.device_s
    return KernelCost(
        compute.family, compute.device_s, waits_s, compute.flops, 0.0, collective.axis
    )


def kernel_cost(kernel: Kernel, context: PriceContext) -> KernelCost:
    """Seconds, FLOPs and bytes of one kernel."""
    match kernel:
        case Matmul():
            return _matmul_cost(kernel, context)
        case FusedAttention():
            return _attention_cost(kernel, context)
        case Elementwise():
            return _elementwise_cost(kernel, context)
        case Collective():
            return _collective_cost(kernel, context)
        case Overlapped(how=TpOverlap() as how):
            return _chunked_cost(kernel, how, context)
        case Overlapped():
            return _overlapped_cost(kernel, context)
        case _:
            assert_never(kernel)


@dataclass(frozen=True, slots=True)
class PhaseCost:
    """Sum over the kernels of one pass through some layers.

    Attributes:
        tp_exposed_s, ep_exposed_s: waits for tensor- and for expert-parallel groups.
        by_kernel: the costs that were summed, for the report's kernel table.
    """

    device_s: Numeric
    tp_exposed_s: Numeric
    ep_exposed_s: Numeric
    flops: Numeric
    by_kernel: tuple[KernelCost, ...]

    @property
    def exposed_s(self) -> Numeric:
        """All waits."""
        return self.tp_exposed_s + self.ep_exposed_s


def phase_cost(kernels: Iterable[Kernel], context: PriceContext) -> PhaseCost:
    """Cost of kernels that run one after another."""
    costs = tuple(kernel_cost(kernel, context) for kernel in kernels)
    device: Numeric = 0.0
    exposed: dict[str, Numeric] = {"tp": 0.0, "ep": 0.0}
    flops: Numeric = 0.0
    for cost in costs:
        device = device + cost.device_s
        exposed[cost.axis] = exposed[cost.axis] + cost.exposed_s
        flops = flops + cost.flops
    return PhaseCost(device, exposed["tp"], exposed["ep"], flops, costs)
