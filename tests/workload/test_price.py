from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.cost.attention import AttentionShape
from simulator.cost.collective import collective_s
from simulator.numeric import Numeric
from simulator.spec.hardware import load_accelerator
from simulator.spec.stacks import load_stack
from simulator.workload.kernel import (
    Collective,
    Elementwise,
    FusedAttention,
    Kernel,
    Matmul,
    Overlapped,
)
from simulator.workload.price import OVERLAP_SLOWDOWN, PriceContext, kernel_cost, phase_cost

SIZES = np.array([512.0, 1024.0, 4096.0])


def kernels(size: Numeric) -> list[Kernel]:
    product = Matmul("m", size, 1024.0, 1024.0)
    gather = Collective("g", "all_gather", size * 2048.0)
    return [
        product,
        replace(product, accumulates=True),
        replace(product, in_core=True, batch=4.0),
        FusedAttention("a", AttentionShape(size, 8.0, 512.0, 512.0, 128), backward=True),
        Elementwise("e", "add", size),
        gather,
        Overlapped(gather, product, chunks=4),
        Overlapped(gather, product),
    ]


@pytest.mark.parametrize("place", range(8))
def test_a_row_of_a_batch_costs_what_it_costs_alone(place: int, context: PriceContext) -> None:
    stack = replace(context.stack, attention="flash2")
    context = replace(context, stack=stack)
    batch = kernel_cost(kernels(SIZES)[place], context)
    for row, size in enumerate(SIZES.tolist()):
        alone = kernel_cost(kernels(size)[place], context)
        for field in ("device_s", "exposed_s", "flops", "moved_bytes"):
            value = np.broadcast_to(getattr(batch, field), SIZES.shape)[row]
            assert value == pytest.approx(getattr(alone, field), rel=1e-14)


def test_only_quantised_products_run_in_fp8() -> None:
    context = PriceContext(
        accelerator=load_accelerator("h100-sxm5-80gb"),
        stack=load_stack("ideal"),
        precision="fp8",
        links={},
    )
    product = Matmul("m", 8192.0, 8192.0, 8192.0)
    wide = kernel_cost(product, context).device_s
    assert wide == kernel_cost(product, replace(context, precision="bf16")).device_s
    # Twice the peak, of which fp8 keeps 0.962; launch and prologues do not shrink: 1.8-1.93 times.
    ratio = wide / kernel_cost(replace(product, quantised=True), context).device_s
    assert 1.8 < ratio < 1.93


def test_gemm_scale_multiplies_products_only(context: PriceContext) -> None:
    slow = replace(context, stack=replace(context.stack, gemm_scale=2.0))
    product, move = Matmul("m", 4096.0, 4096.0, 4096.0), Elementwise("e", "add", 1e6)
    assert kernel_cost(product, slow).device_s == 2 * kernel_cost(product, context).device_s
    assert kernel_cost(move, slow).device_s == kernel_cost(move, context).device_s


def test_misaligned_products_leave_the_tensor_cores(context: PriceContext) -> None:
    """They run at the fp32 rate: 156 instead of 19.5 TFLOP/s and more of memory traffic apart."""
    product = Matmul("scores", 2048.0, 2048.0, 144.0, batch=12.0, in_core=True)
    slow = replace(product, word_bytes=8)
    peaks = context.accelerator.peak_flops_per_s
    ratio = kernel_cost(slow, context).device_s / kernel_cost(product, context).device_s
    assert 1.0 < ratio <= 1.01 * peaks["bf16"] / peaks["fp32"]
    assert kernel_cost(slow, context).flops == kernel_cost(product, context).flops
    only_16_bits = replace(context.accelerator, peak_flops_per_s={"bf16": peaks["bf16"]})
    without = replace(context, accelerator=only_16_bits)
    assert kernel_cost(slow, without) == kernel_cost(product, without)


def test_a_misaligned_output_layer_costs_a_step_what_padding_saved(context: PriceContext) -> None:
    """nanoGPT, 12 sequences of 1,024: 113 ms with 50,257 words, 87 ms with 50,304 (PyTorch, 2023).

    The three products of the output layer make up for the 26 ms: 3 x 2 x 12,288 x 50,304 x 768 =
    2.85 TFLOP take about 13 ms at A100's rates, and twice that is added. The post gives both the
    factor and the two times, so this compares them with one another: with 2.7 or 3.4 it would pass.
    The tolerance is that of the curve, of "nearly" 3 and of two times printed in whole ms.
    """
    products = [
        Matmul("logits", 12288.0, 50304.0, 768.0),
        Matmul("logits.dgrad", 12288.0, 768.0, 50304.0),
        Matmul("logits.wgrad", 50304.0, 768.0, 12288.0),
    ]
    aligned_s = sum(float(kernel_cost(product, context).device_s) for product in products)
    misaligned_s = sum(
        float(kernel_cost(replace(product, word_bytes=2), context).device_s) for product in products
    )
    assert misaligned_s - aligned_s == pytest.approx(0.026, rel=0.2)


def test_rows_at_multiples_of_4_bytes_cost_nothing(context: PriceContext) -> None:
    product = Matmul("m", 4096.0, 4096.0, 4096.0)
    assert kernel_cost(replace(product, word_bytes=4), context) == kernel_cost(product, context)


def test_overlap_exposes_what_does_not_fit_beside_compute(context: PriceContext) -> None:
    product = Matmul("m", 8192.0, 8192.0, 8192.0)
    gather = Collective("g", "all_gather", 1e6)
    compute_s = float(kernel_cost(product, context).device_s)
    comm_s = float(collective_s("all_gather", 1e6, context.links["tp"]))
    assert comm_s < compute_s
    both = kernel_cost(Overlapped(gather, product), context)
    assert both.device_s == compute_s
    assert both.exposed_s == pytest.approx(OVERLAP_SLOWDOWN * comm_s)


def test_overlap_is_never_slower_than_one_after_the_other(context: PriceContext) -> None:
    for payload in (1e4, 1e6, 1e8, 1e10):
        gather, product = (
            Collective("g", "all_gather", payload),
            Matmul("m", 2048.0, 2048.0, 2048.0),
        )
        apart = kernel_cost(gather, context).exposed_s + kernel_cost(product, context).device_s
        for chunks in (1, 2, 8):
            assert kernel_cost(Overlapped(gather, product, chunks), context).total_s <= apart


def test_phase_cost_sums_its_kernels(context: PriceContext) -> None:
    parts = [Matmul("m", 1024.0, 1024.0, 1024.0), Collective("g", "all_reduce", 1e6)]
    whole = phase_cost(parts, context)
    assert whole.device_s == kernel_cost(parts[0], context).device_s
    assert whole.exposed_s == kernel_cost(parts[1], context).exposed_s
    assert whole.flops == 2 * 1024.0**3
    assert len(whole.by_kernel) == 2
