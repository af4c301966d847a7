"""How many plans a search evaluates: step time and memory of every one, per CPU second.

Run it as either of::

    python benchmarks/speed/bench_search.py
    pytest benchmarks/speed/bench_search.py -o python_files="bench_*.py"

What is asserted is how many plans the spaces hold, never how fast they are evaluated.
"""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

import numpy as np
import pytest

from simulator.scenario import Scenario
from simulator.search.enumeration import enumerate_candidates
from simulator.search.evaluate import evaluate
from simulator.search.space import SCHEDULE_NAMES, Space
from simulator.spec.load import load_scenario, parse_scenario


@dataclass(frozen=True)
class Case:
    """A space and the number of plans in it."""

    devices: int
    space: Space
    count: int


CASES = {
    # 175B on 512 A100, 1,536 sequences a step.
    "175B on 512": Case(512, Space(512), 204_960),
    # 13B on 8 A100, 768 sequences a step: all schedules, every number of recomputed layers.
    "13B on 8": Case(
        8,
        Space(8, schedules=SCHEDULE_NAMES, max_micro_batch_size=64, recompute_layers=True),
        296_604,
    ),
}


def base(name: str) -> Scenario:
    """What the space of a case varies."""
    if name == "175B on 512":
        sizes = ["cluster.nodes=64", "training.global_batch_size=1536", "plan.dp=8"]
        return load_scenario("gpt3-175b-a100-64", sizes)
    return parse_scenario(
        {
            "name": "gpt-13b-8",
            "model": {"preset": "gpt3-13b"},
            "training": {"global_batch_size": 768, "seq_length": 2048},
            "plan": {"tp": 8},
            "cluster": {"preset": "selene", "nodes": 1},
            "stack": {"preset": "megatron-lm-2022"},
        }
    )


@pytest.mark.parametrize("name", CASES)
def test_spaces_hold_as_many_plans_as_claimed(name: str) -> None:
    case = CASES[name]
    found = enumerate_candidates(base(name), case.space)
    assert len(found.candidates) == case.count


def main() -> None:
    """Prints the rate of every case."""
    for name, case in CASES.items():
        started = time.process_time()
        scenario = base(name)
        candidates = enumerate_candidates(scenario, case.space).candidates
        assert len(candidates) == case.count, f"{name}: {len(candidates)} plans"
        times = evaluate(scenario, case.devices, candidates)
        assert np.isfinite(times.step_time_s).all()
        seconds = time.process_time() - started
        print(
            f"{name}: {len(candidates):,} plans in {seconds:.1f} s of CPU, "
            f"{len(candidates) / seconds:,.0f} per second"
        )
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(f"peak memory {peak / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
