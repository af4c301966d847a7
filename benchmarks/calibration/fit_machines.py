"""The two fits on calibration rows that are not of a stack alone.

    python benchmarks/calibration/fit_machines.py

Frontier: ``frontier-001`` prints a rate but no layout, so that it cannot run as a row; the scenario
``frontier-22b`` gives it that of the authors' script, and the stack's ``gemm_scale`` is the one
that meets the rate.
Jean Zay: the fraction of its Omni-Path NICs that collectives reach, over the calibration rows of
``bloomA100``.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from simulator.calibrate.least_squares import soft_l1
from simulator.calibrate.observations import observe, read_tables
from simulator.calibrate.predict import step_times_s
from simulator.published.validate import published_paths
from simulator.simulate import simulate
from simulator.spec.load import load_scenario

PUBLISHED_FLOPS_PER_S = 73.5e12
"""Of one GCD at 22B, hardware FLOPs. Source: Dash et al. 2023 (arXiv 2312.12705), abstract."""


def frontier_22b_flops_per_s(gemm_scale: float) -> float:
    scenario = load_scenario("frontier-22b", [f"stack.gemm_scale={gemm_scale}"])
    return simulate(scenario).flops["megatron_hardware"].flops_per_s_per_device


def jean_zay_loss(bandwidth_fraction: float) -> float:
    """The mean soft-L1 loss that stacks are fitted with."""
    paths = published_paths()
    rows = read_tables([path for path in paths if path.stem == "bloomA100"])
    errors: list[float] = []
    for one in observe(rows, all_rows=read_tables(paths)).rows:
        cluster = one.scenario.cluster
        network = replace(cluster.network, bandwidth_fraction=bandwidth_fraction)
        scenario = replace(one.scenario, cluster=replace(cluster, network=network))
        seconds = float(step_times_s(scenario, {})[0]) * one.contention
        errors.append(math.log(seconds / one.measured_s))
    return float(soft_l1(np.array(errors)).mean())


if __name__ == "__main__":
    scales = [1.35, 1.37, 1.39, 1.41, 1.43, 1.45, 1.47, 1.49, 1.53]
    best = min(scales, key=lambda s: abs(frontier_22b_flops_per_s(s) - PUBLISHED_FLOPS_PER_S))
    print(f"megatron-deepspeed-frontier gemm_scale: {best} of {scales}")
    fractions = [0.12, 0.15, 0.16, 0.17, 0.18, 0.19, 0.2, 0.22, 0.3, 0.9]
    print(f"jean-zay-a100 bandwidth_fraction: {min(fractions, key=jean_zay_loss)} of {fractions}")
