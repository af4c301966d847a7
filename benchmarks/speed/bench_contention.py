"""Speed of a step of 1,024 devices: folded, and device by device with contention for every link.

Run it as either of::

    python benchmarks/speed/bench_contention.py
    pytest benchmarks/speed -o python_files="bench_*.py"

The model has 32 layers of width 4096 (ffn 11008, 32 heads, sequence 4096); tp 8, 8 microbatches per
replica, two levels of switches above nodes of 8, whose order is shuffled so that messages meet.
What is asserted is how much was computed, never how fast.
"""

from __future__ import annotations

import resource
import time

import numpy as np

from simulator.api import load_scenario
from simulator.fabric.cluster import Routing, network_of
from simulator.scenario import Scenario
from simulator.simulate import run_step
from simulator.step import build_step
from simulator.unfolded import Unfolded, build_unfolded

DEVICES = 1024


def job() -> Scenario:
    return load_scenario("llama-7b-1024")


def shuffled(scenario: Scenario) -> Unfolded:
    nodes = np.random.default_rng(0).permutation(scenario.cluster.num_nodes)
    return build_unfolded(scenario, network_of(scenario.cluster, Routing()), nodes)


def test_every_device_has_its_own_ops() -> None:
    unfolded = shuffled(job())
    graph = unfolded.step.graph
    assert len({stream.replica for stream in graph.streams}) == DEVICES
    assert graph.num_ops > 16 * DEVICES
    # A reduction and a gather of each of the eight groups, over the links that can fill.
    assert len(graph.flows) == 16
    assert max(unfolded.load.asked) > 1
    assert run_step(unfolded.step)[0].engine == "des"


def test_folded_the_ops_do_not_grow_with_devices() -> None:
    assert build_step(job()).graph.num_ops < 100


def main() -> None:
    """CPU seconds and memory of both."""
    scenario = job()
    began = time.process_time()
    folded_s = run_step(build_step(scenario))[0].makespan_s
    folded_cpu_s = time.process_time() - began
    began = time.process_time()
    unfolded = shuffled(scenario)
    step_s = run_step(unfolded.step)[0].makespan_s
    cpu_s = time.process_time() - began
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    graph = unfolded.step.graph
    print(f"folded   {folded_cpu_s:6.2f} s of CPU   step {folded_s:.4f} s")
    print(
        f"unfolded {cpu_s:6.2f} s of CPU   step {step_s:.4f} s   {graph.num_ops:,} ops, "
        f"{len(graph.flows)} flows on {len(graph.resources):,} links that fill; "
        f"process {peak_bytes / 1e6:.0f} MB"
    )


if __name__ == "__main__":
    main()
