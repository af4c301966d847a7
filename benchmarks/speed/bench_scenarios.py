"""Cost of simulating every shipped scenario: processor seconds and memory of a fresh process.

Run it as either of::

    python benchmarks/speed/bench_scenarios.py
    pytest benchmarks/speed -o python_files="bench_*.py"

What is asserted is how much was computed and that it stays within bounds that leave room for a
slow machine; the table is for reading.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulator.plan import num_microbatches
from simulator.spec.load import list_scenarios, load_scenario

ROOT = Path(__file__).resolve().parents[2]
ONE_SPEED_EACH = "megatron-175b-12288"
"""Simulated once more with 12,288 different speeds, as a batch of its 192 replicas."""
MAX_CPU_S = 6.0
"""Three times what the slowest scenario takes on one core of 2023."""
MAX_BYTES = 500e6

MEASURED = """
import json, resource, sys, time
import numpy as np
from simulator.api import load_scenario, simulate, to_json

name, own_speeds = sys.argv[1], sys.argv[2] == "speeds"
scenario = load_scenario(name)
imported_s = time.process_time()
speeds = None
if own_speeds:
    drawn = np.random.default_rng(0).uniform(0.9, 1.0, scenario.plan.num_devices)
    speeds = dict(enumerate(drawn.tolist()))
report = simulate(scenario, speeds=speeds)
to_json(report)
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "cpu_s": used.ru_utime + used.ru_stime,
    "simulate_s": time.process_time() - imported_s,
    "peak_bytes": used.ru_maxrss * 1024,
    "step_s": report.step_time_s,
    "devices": report.devices,
    **{key: report.provenance[key] for key in ("ops", "engine", "replica_classes")},
}))
"""


@dataclass(frozen=True)
class Run:
    """One simulation in a process of its own; ``cpu_s`` counts starting Python and imports."""

    name: str
    wall_s: float
    cpu_s: float
    simulate_s: float
    peak_bytes: float
    step_s: float
    devices: int
    ops: int
    engine: str
    replica_classes: int


def measure(name: str, *, own_speeds: bool = False) -> Run:
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, name, "speeds" if own_speeds else "even"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    found["ops"], found["replica_classes"] = int(found["ops"]), int(found["replica_classes"])
    label = f"{name}, a speed for every rank" if own_speeds else name
    return Run(label, time.perf_counter() - begun, **found)


@pytest.mark.parametrize("name", list_scenarios())
def test_scenario(name: str) -> None:
    run, scenario = measure(name), load_scenario(name)
    passes = scenario.plan.num_stages * num_microbatches(scenario.training, scenario.plan)
    # Every forward and backward; layer by layer at most, each with a gather and a reduction.
    assert 2 * passes < run.ops < 6 * passes * scenario.model.num_layers
    assert run.cpu_s < MAX_CPU_S
    assert run.peak_bytes < MAX_BYTES


def test_every_rank_with_a_speed_of_its_own() -> None:
    run, even = measure(ONE_SPEED_EACH, own_speeds=True), measure(ONE_SPEED_EACH)
    assert (run.devices, run.replica_classes) == (12288, 192)
    assert run.ops == even.ops  # a batch over one graph
    assert run.step_s > even.step_s
    assert run.cpu_s < MAX_CPU_S
    assert run.peak_bytes < MAX_BYTES


def main() -> None:
    """Print the table."""
    runs = [measure(name) for name in list_scenarios()]
    runs.append(measure(ONE_SPEED_EACH, own_speeds=True))
    print("| scenario | devices | ops | engine | CPU s | of it simulating | wall s | peak MB |")
    print("|---|---:|---:|---|---:|---:|---:|---:|")
    for run in sorted(runs, key=lambda run: -run.cpu_s):
        print(
            f"| {run.name} | {run.devices:,} | {run.ops:,} | {run.engine} | {run.cpu_s:.2f} "
            f"| {run.simulate_s:.2f} | {run.wall_s:.2f} | {run.peak_bytes / 1e6:.0f} |"
        )


if __name__ == "__main__":
    main()
