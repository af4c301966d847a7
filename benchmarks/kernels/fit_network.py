"""Fits the constants of the two H100 systems in ``evaluate.SYSTEMS`` on at most 32 nodes.

    python -m benchmarks.kernels.fit_network

Minimises a robust mean of the log error of ``collective_s`` over the rows of up to
``FITTED_NODES`` nodes, so that every row beyond is an extrapolation. Needs scipy.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from benchmarks.kernels.evaluate import (
    FITTED_NODES,
    SYSTEMS,
    System,
    Table,
    network,
    network_link,
)
from simulator.cost.collective import bus_bytes, collective_s
from simulator.numeric import FloatArray

START = (30.0, 20.0, 2.0, 25.0, 14.0, 350.0)
"""base us, hop us, fill us/MB, fill cap us, ring step us, network GB/s."""
ROUNDS = 4
TOLERATED_ERROR = 0.05
"""Errors beyond count linearly instead of quadratically: read-off points have outliers."""


def fit(name: str) -> FloatArray:
    """The six constants of one system, in the units of ``START``."""
    rows = dict(Table.read("collective_network").split("system"))[(name,)]
    nodes, ranks, payload, bus = (
        rows.numbers(c) for c in ("nodes", "ranks", "bytes", "bus_gb_per_s")
    )
    near = nodes <= FITTED_NODES
    nodes, ranks, payload, bus = (column[near] for column in (nodes, ranks, payload, bus))
    measured = np.asarray(bus_bytes("all_reduce", payload, ranks)) / (bus * 1e9)

    def loss(logs: FloatArray) -> float:
        *times, rate = np.exp(logs)
        system = System(SYSTEMS[name].accelerator, rate * 1e9, network(*times))
        predicted = collective_s("all_reduce", payload, network_link(system, nodes, ranks))
        error = np.log(predicted / measured) / TOLERATED_ERROR
        return float(np.mean(np.sqrt(1.0 + error**2) - 1.0))

    logs = np.log(START)
    for _ in range(ROUNDS):  # Nelder-Mead restarted from its own result leaves narrow valleys
        logs = minimize(loss, logs, method="Nelder-Mead", options={"adaptive": True}).x
    return np.exp(logs)


if __name__ == "__main__":
    for system in ("h100-nvlstree", "h100-default"):
        print(system, np.array2string(fit(system), precision=3, suppress_small=True))
