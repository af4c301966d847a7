"""``tp_overlap``: which kernels it changes, and what they then cost."""

from dataclasses import replace

import pytest

from simulator.cost.collective import collective_s
from simulator.plan import ProcessGroup
from simulator.spec.hardware import load_cluster
from simulator.spec.stacks import load_stack
from simulator.topology import Topology
from simulator.tp_overlap import TpOverlap
from simulator.workload.kernel import Collective, Kernel, Matmul, Overlapped
from simulator.workload.linear import Split, column_linear, row_linear
from simulator.workload.price import PriceContext, kernel_cost

TOKENS, HIDDEN, RANKS = 8192.0, 4096.0, 8
PRODUCT = Matmul("fc2", TOKENS, HIDDEN, 2 * HIDDEN)
REDUCE = Collective("fc2.all_reduce", "all_reduce", TOKENS * HIDDEN * 2.0)
SPLIT = Split(8.0, 1024, RANKS, False, False, False, 2.0, True)
DMA = TpOverlap("dma", dram="none")


@pytest.fixture(scope="module")
def context() -> PriceContext:
    cluster = load_cluster("t3-ring-8")
    link = Topology.of(cluster).group_link(ProcessGroup("tp", RANKS, 1))
    return PriceContext(cluster.node.accelerator, load_stack("ideal"), "fp16", {"tp": link})


def seconds(kernel: Kernel, context: PriceContext) -> float:
    return float(kernel_cost(kernel, context).total_s)


def test_dma_by_hand(context: PriceContext) -> None:
    """Ring of 8 at 75 GB/s: 67.1 MB * 7 / 8 / 75 GB/s = 0.783 ms a way, 1 us and 7 hops of 0.5 us.

    8 chunks of a product of G: G / 8 + 7 / 8 max(G, R) + R / 8, then the gather, R again.
    """
    ring_s = TOKENS * HIDDEN * 2.0 * 7 / 8 / 75e9 + 1e-6 + 7 * 0.5e-6
    product_s = seconds(PRODUCT, context)
    assert product_s > ring_s
    expected = product_s / 8 + 7 / 8 * product_s + ring_s / 8 + ring_s
    assert seconds(Overlapped(REDUCE, PRODUCT, how=DMA), context) == pytest.approx(expected)


def test_what_dram_costs(context: PriceContext) -> None:
    """The bytes that move delay the product; arbitrated, nothing, as DRAM has room for both."""
    none, arbitrated, shared = (
        seconds(Overlapped(REDUCE, PRODUCT, how=replace(DMA, dram=how)), context)
        for how in ("none", "arbitrated", "shared")
    )
    moved_s = 2 * TOKENS * HIDDEN * 2.0 * 7 / 8 / (0.7593 * 1e12)
    assert arbitrated == none
    assert shared == pytest.approx(none + moved_s)


def test_dram_that_is_too_slow(context: PriceContext) -> None:
    """At a tenth of its bandwidth both together take as long as DRAM needs for their bytes."""
    slow = replace(context.accelerator, memory_bandwidth_bytes_per_s=1e11)
    poor = replace(context, accelerator=slow)
    product = replace(PRODUCT, k=512.0)
    read = 2.0 * (TOKENS * 512 + 512 * HIDDEN + TOKENS * HIDDEN)
    dram_s = (read + 2 * TOKENS * HIDDEN * 2.0 * 7 / 8) / (0.7593 * 1e11)
    gather_s = float(collective_s("all_gather", REDUCE.payload_bytes, poor.links["tp"]))
    how = TpOverlap("dma", dram="arbitrated")
    assert seconds(Overlapped(REDUCE, product, how=how), poor) == pytest.approx(dram_s + gather_s)


def test_a_communication_kernel_takes_sms(context: PriceContext) -> None:
    """Half the SMs: the product takes up to twice as long; the reduction is none the slower."""
    many = TpOverlap("sm", chunks=10**6, communication_sms=40)
    ring_s = float(collective_s("all_gather", REDUCE.payload_bytes, context.links["tp"]))
    alone = seconds(PRODUCT, context)
    product_s = seconds(Overlapped(REDUCE, PRODUCT, how=many), context) - ring_s
    assert 1.8 * alone < product_s < 2.001 * alone


def test_halves_of_reductions_leave_the_products_that_feed_them() -> None:
    split = replace(SPLIT, chunked=DMA)
    row = row_linear("out", split, inputs=HIDDEN, outputs=HIDDEN)
    column = column_linear("in", split, inputs=HIDDEN, outputs=HIDDEN)
    (fused,) = (k for k in row.forward if isinstance(k, Overlapped))
    assert (fused.compute.name, fused.collective.kind, fused.how) == ("out", "all_reduce", DMA)
    (fused,) = (k for k in column.backward if isinstance(k, Overlapped))
    assert (fused.compute.name, fused.collective.kind) == ("in.dgrad", "all_reduce")
    assert not any(isinstance(k, Overlapped) for k in (*row.backward, *column.forward))


def test_a_stack_that_hides_collectives_hides_the_gathering_half() -> None:
    split = replace(SPLIT, chunked=DMA, backward_overlap=True)
    first, second = column_linear("in", split, inputs=HIDDEN, outputs=HIDDEN).backward
    assert isinstance(first, Overlapped)
    assert isinstance(second, Overlapped)
    assert (first.compute.name, first.collective.kind) == ("in.dgrad", "reduce_scatter")
    assert (second.compute.name, second.collective.kind, second.how) == (
        "in.wgrad",
        "all_gather",
        None,
    )


def test_sequence_parallel_gathers_stay_as_they_are() -> None:
    split = replace(SPLIT, sequence_parallel=True, chunked=DMA)
    column = column_linear("in", split, inputs=HIDDEN, outputs=HIDDEN)
    row = row_linear("out", split, inputs=HIDDEN, outputs=HIDDEN)
    assert [type(k) for k in column.forward] == [Collective, Matmul]
    assert [type(k) for k in column.backward] == [Collective, Overlapped, Matmul]
    assert [type(k) for k in row.forward] == [Overlapped]
    assert [type(k) for k in row.backward] == [Collective, Matmul, Matmul]
