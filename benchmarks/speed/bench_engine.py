"""Speed of the engine: graph build, max-plus (one run and a batch) and discrete events.

Run it as either of::

    python benchmarks/speed/bench_engine.py
    pytest benchmarks/speed -o python_files="bench_*.py"

The graph is a 1F1B pipeline whose transfers run on streams of their own. What is asserted is how
much was computed, never how fast.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from simulator.engine import des, maxplus
from simulator.numeric import FloatArray, IntArray
from simulator.workload.draft import GraphDraft
from simulator.workload.op import OpGraph, OpPhase, Stream

CLASS_NAMES = ("forward", "backward", "send activation", "send gradient")
CLASS_S = np.array([1.0, 2.1, 0.2, 0.3])
SIZES = {"pp8 m64": (8, 64), "pp1 m20000": (1, 20_000), "pp64 m1600": (64, 1600)}
BATCH = 256


def pipeline_draft(pp: int, microbatches: int, *, shared_links: bool = False) -> GraphDraft:
    """A 1F1B pipeline: F, B and the transfers after them, four ops per rank and microbatch."""
    draft = GraphDraft()
    number = np.arange(microbatches)
    ranks: list[list[IntArray]] = []
    for rank in range(pp):
        warmup = min(pp - rank - 1, microbatches)
        steady = microbatches - warmup
        f_order = np.where(number <= warmup, number, 2 * number - warmup)
        b_order = np.where(number < steady, warmup + 1 + 2 * number, microbatches + number)
        compute = draft.add_stream(Stream("compute", rank))
        send = draft.add_stream(Stream("pp-send", rank))
        link = draft.add_resource(f"nic of node {rank // 2}") if shared_links else -1
        rows = (
            (OpPhase.F, compute, f_order, -1),
            (OpPhase.B, compute, b_order, -1),
            (OpPhase.SEND_ACTIVATION, send, f_order, link),
            (OpPhase.SEND_GRADIENT, send, b_order, link),
        )
        ranks.append(
            [
                draft.add_ops(
                    op_class,
                    stream,
                    order=order,
                    phase=phase,
                    stage=rank,
                    microbatch=number,
                    resource=resource,
                )
                for op_class, (phase, stream, order, resource) in enumerate(rows)
            ]
        )
    for forward, backward, send_activation, send_gradient in ranks:
        draft.add_edges(forward, send_activation)
        draft.add_edges(backward, send_gradient)
    for before, after in pairwise(ranks):
        draft.add_edges(before[2], after[0])
        draft.add_edges(after[3], before[1])
    return draft


def build(draft: GraphDraft) -> OpGraph:
    return draft.build(CLASS_NAMES)


def best_rate(work: float, run: Callable[[], object], repeat: int = 3) -> float:
    """Work per second, best of some runs: the machine is shared."""
    times = []
    for _ in range(repeat):
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return work / min(times)


@pytest.fixture(params=SIZES)
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return SIZES[request.param]


def test_build(benchmark: BenchmarkFixture, size: tuple[int, int]) -> None:
    pp, microbatches = size
    graph = benchmark.pedantic(build, (pipeline_draft(pp, microbatches),), rounds=3)
    assert graph.num_ops == 4 * pp * microbatches
    assert graph.preds.size == 2 * pp * microbatches + 2 * (pp - 1) * microbatches


def test_maxplus_run(benchmark: BenchmarkFixture, size: tuple[int, int]) -> None:
    graph = build(pipeline_draft(*size))
    duration_s = maxplus.op_durations(graph, CLASS_S)
    _, end_s = benchmark.pedantic(maxplus.solve, (graph, duration_s), rounds=3)
    assert np.count_nonzero(end_s) == graph.num_ops


def test_maxplus_batch(benchmark: BenchmarkFixture, size: tuple[int, int]) -> None:
    graph = build(pipeline_draft(*size))
    class_s = batch_class_s()
    makespan_s = benchmark.pedantic(maxplus.makespan_s, (graph, class_s), rounds=2)
    assert np.count_nonzero(makespan_s) == BATCH


@pytest.mark.parametrize("shared_links", [False, True])
def test_des(benchmark: BenchmarkFixture, size: tuple[int, int], shared_links: bool) -> None:
    graph = build(pipeline_draft(*size, shared_links=shared_links))
    duration_s = maxplus.op_durations(graph, CLASS_S)
    timeline = benchmark.pedantic(des.simulate, (graph, duration_s), rounds=1)
    assert np.count_nonzero(timeline.end_s) == graph.num_ops


def batch_class_s() -> FloatArray:
    """[batch, classes] of slightly different durations."""
    return CLASS_S * (1.0 + 0.1 * np.random.default_rng(0).random((BATCH, CLASS_S.size)))


def main() -> None:
    """Print the rates."""
    for name, (pp, microbatches) in SIZES.items():
        graph = build(pipeline_draft(pp, microbatches))
        sharing = build(pipeline_draft(pp, microbatches, shared_links=True))
        duration_s = maxplus.op_durations(graph, CLASS_S)
        sharing_s = maxplus.op_durations(sharing, CLASS_S)
        ops = graph.num_ops
        levels = graph.level_offsets.size - 1
        assert ops == 4 * pp * microbatches
        assert np.count_nonzero(maxplus.makespan_s(graph, batch_class_s())) == BATCH
        assert np.count_nonzero(des.simulate(sharing, sharing_s).end_s) == ops

        def build_again(pp: int = pp, microbatches: int = microbatches) -> OpGraph:
            return build(pipeline_draft(pp, microbatches))

        rates = {
            "graph build": best_rate(ops, build_again),
            "maxplus, one run": best_rate(ops, partial(maxplus.solve, graph, duration_s)),
            f"maxplus, batch {BATCH}": best_rate(
                ops * BATCH, partial(maxplus.makespan_s, graph, batch_class_s())
            ),
            "des": best_rate(ops, partial(des.simulate, graph, duration_s)),
            "des, shared links": best_rate(ops, partial(des.simulate, sharing, sharing_s)),
        }
        print(f"{name}: {ops:,} ops, {levels:,} levels")
        for what, rate in rates.items():
            print(f"  {what:<20} {rate / 1e6:9.3f} M op-samples/s")


if __name__ == "__main__":
    main()
