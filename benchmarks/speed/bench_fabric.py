"""Speed of the flow-level network: 2,048 flows on a fat tree of 2,000 nodes, a ring of 1,024.

Run it as either of::

    python benchmarks/speed/bench_fabric.py
    pytest benchmarks/speed -o python_files="bench_*.py"

What is asserted is how much was computed, never how fast.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from simulator.fabric.fat_tree import Tree, fat_tree
from simulator.fabric.fluid import Flow, FluidRun, run_flows
from simulator.fabric.links import Fabric
from simulator.fabric.ring import RingRun, ring_all_reduce
from simulator.fabric.switch import single_switch
from simulator.machine import FabricTier

NODES, FLOWS, RANKS = 2000, 2048, 1024
TREE = Tree(
    (
        FabricTier("leaf", 32, 1, 0.5e-6),
        FabricTier("spine", 256, 1, 0.5e-6),
        FabricTier("core", NODES, 2, 0.5e-6),
    )
)


def tree() -> Fabric:
    return fat_tree(NODES, 50e9, TREE)


def traffic(kind: str) -> list[Flow]:
    rng = np.random.default_rng(0)
    source, target = rng.integers(0, NODES, FLOWS), rng.integers(0, NODES, FLOWS)
    size, start_s = np.full(FLOWS, 64e6), np.zeros(FLOWS)
    if kind != "equal sizes":
        size = rng.uniform(10e6, 100e6, FLOWS)
    if kind == "sizes and starts at random":
        start_s = rng.uniform(0, 1e-3, FLOWS)
    return [
        Flow(*pair[:2], float(pair[2]), float(pair[3]))
        for pair in zip(source.tolist(), target.tolist(), size, start_s, strict=True)
    ]


KINDS = {
    "equal sizes": FLOWS,
    "sizes at random": 2 * FLOWS,
    "sizes and starts at random": 2 * FLOWS,
}
"""Traffic, and its most moments: one per flow that starts or ends by itself."""


def ring() -> RingRun:
    """Links of 40 to 60 GB/s, so that no two hops are alike."""
    rng = np.random.default_rng(0)
    fabric = single_switch(RANKS, rng.uniform(40e9, 60e9, RANKS), 0.5e-6)
    return ring_all_reduce(fabric, np.arange(RANKS), 2.0**30, step_s=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_flows_touch_few_others(kind: str) -> None:
    run = run_flows(tree(), traffic(kind))
    assert np.all(np.isfinite(run.end_s))
    assert run.events <= KINDS[kind] + 1
    assert run.work.solves <= run.events
    # All flows at each event would be 2 to 4 million.
    assert run.work.flows < 50_000
    assert run.work.links < 300_000


def test_ring_passes_every_chunk() -> None:
    run = ring()
    assert run.events == 2 * (RANKS - 1) * RANKS
    slowest = run.hop_s.max()
    assert run.makespan_s >= 2 * (RANKS - 1) * slowest * (1 - 1e-9)


def main() -> None:
    fabric = tree()
    for kind in KINDS:
        flows = traffic(kind)
        begun = time.process_time()
        run: FluidRun = run_flows(fabric, flows)
        spent_s = time.process_time() - begun
        work = run.work
        print(
            f"{FLOWS} flows, {kind}: {spent_s:.2f} s of CPU, {run.events} events, "
            f"{work.solves} solves ({work.whole} of all flows), {work.flows} rates, "
            f"{work.links} links"
        )
    begun = time.process_time()
    events = ring().events
    spent_s = time.process_time() - begun
    print(f"ring of {RANKS}, 1 GiB: {spent_s:.3f} s of CPU, {events:,} events")


if __name__ == "__main__":
    main()
