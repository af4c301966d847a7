"""The fits on calibration rows that are not of a stack alone.

    python benchmarks/calibration/fit_machines.py

Frontier: ``frontier-001`` prints a rate but no layout, so that it cannot run as a row; the scenario
``frontier-22b`` gives it that of the authors' script, and the stack's ``gemm_scale`` is the one
that meets the rate.
Jean Zay: the fraction of its Omni-Path NICs that collectives reach before and after its nodes were
changed on 2022-02-25, together with the ``layer_stall`` of ``megatron-deepspeed-bloom``, over the
calibration rows of ``bloomA100``. That stall is in no fit block: CUDA_LAUNCH_BLOCKING=1 is a
switch of those runs, which says nothing of what is typical of other software.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.calibrate.least_squares import soft_l1
from simulator.calibrate.observations import observe, read_tables
from simulator.calibrate.predict import step_times_s
from simulator.numeric import FloatArray
from simulator.published.validate import published_paths
from simulator.simulate import simulate
from simulator.spec.load import load_scenario

PUBLISHED_FLOPS_PER_S = 73.5e12
"""Of one GCD at 22B, hardware FLOPs. Source: Dash et al. 2023 (arXiv 2312.12705), abstract."""


def frontier_22b_flops_per_s(gemm_scale: float) -> float:
    scenario = load_scenario("frontier-22b", [f"stack.gemm_scale={gemm_scale}"])
    return simulate(scenario).flops["megatron_hardware"].flops_per_s_per_device


def jean_zay_losses(bandwidth_fraction: float, name: str, stalls_s: FloatArray) -> FloatArray:
    """The soft-L1 loss that stacks are fitted with, summed over one cluster's rows, per stall."""
    paths = published_paths()
    rows = read_tables([path for path in paths if path.stem == "bloomA100"])
    loss = np.zeros_like(stalls_s)
    for one in observe(rows, all_rows=read_tables(paths)).rows:
        cluster = one.scenario.cluster
        if cluster.name != name:
            continue
        network = replace(cluster.network, bandwidth_fraction=bandwidth_fraction)
        scenario = replace(one.scenario, cluster=replace(cluster, network=network))
        seconds = step_times_s(scenario, {"layer_stall_s": stalls_s}) * one.contention
        loss = loss + soft_l1(np.log(seconds / one.measured_s))
    return loss


if __name__ == "__main__":
    scales = [1.35, 1.37, 1.39, 1.41, 1.43, 1.45, 1.47, 1.49, 1.53]
    best = min(scales, key=lambda s: abs(frontier_22b_flops_per_s(s) - PUBLISHED_FLOPS_PER_S))
    print(f"megatron-deepspeed-frontier gemm_scale: {best} of {scales}")
    fractions = [percent / 100 for percent in range(10, 31)]
    stalls_s = np.arange(0.0, 2e-3, 5e-5)
    clusters = ("jean-zay-a100-2022-02", "jean-zay-a100")
    losses = [
        np.array([jean_zay_losses(f, name, stalls_s) for f in fractions]) for name in clusters
    ]
    best_stall = int(np.array([loss.min(axis=0) for loss in losses]).sum(axis=0).argmin())
    print(f"megatron-deepspeed-bloom layer_stall: {1e3 * stalls_s[best_stall]:.2f} ms")
    for name, loss in zip(clusters, losses, strict=True):
        print(f"{name} bandwidth_fraction: {fractions[int(loss[:, best_stall].argmin())]}")
