"""Fits the constants between nodes of ``evaluate.SYSTEMS`` on their rows that are not held out.

    python -m benchmarks.kernels.fit_network [--all]

Minimises a robust mean of the log error of ``collective_s``. The H100 systems are fitted on the
rows of at most 32 nodes, so that every row beyond is an extrapolation; the EFA systems, of two
nodes, on every second size. ``--all`` takes all rows, as for the shipped clusters. Needs scipy.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.optimize import minimize

from benchmarks.kernels.evaluate import (
    SYSTEMS,
    System,
    Table,
    fitted_rows,
    network,
    network_link,
)
from simulator.cost.collective import bus_bytes, collective_s
from simulator.numeric import BoolArray, FloatArray

NAMES = (
    "base us", "hop us", "fill us/MB", "fill cap us", "ring step us", "eager us/kB",
    "handshake us", "network GB/s",
)  # fmt: skip
H100 = (30.0, 20.0, 2.0, 25.0, 14.0, 0.0, 0.0, 350.0)
STARTS = {
    "h100-nvlstree": H100,
    "h100-default": H100,
    "p5": (50.0, 12.0, 4.0, 100.0, 25.0, 0.5, 20.0, 360.0),
    "p4de": (50.0, 30.0, 20.0, 200.0, 30.0, 0.5, 20.0, 45.0),
}
FREE = {"h100-nvlstree": (0, 1, 2, 3, 4, 7), "h100-default": (0, 1, 2, 3, 4, 7)} | {
    "p5": (0, 2, 3, 5, 6),
    "p4de": (0, 2, 3, 5, 6, 7),
}
"""Two nodes cannot tell a hop from the start and run no rings; links in the node hold p5 back."""
ROUNDS = 5
TOLERATED_ERROR = 0.05
"""Errors beyond count linearly instead of quadratically: read-off points have outliers."""


def system_of(name: str, constants: FloatArray) -> System:
    """The system with ``constants``, in the order and units of ``NAMES``."""
    *times, rate = constants.tolist()
    return System(SYSTEMS[name].accelerator, rate * 1e9, network(*times))


def fit(name: str, *, every: bool = False) -> FloatArray:
    """The constants of one system, in the order and units of ``NAMES``."""
    rows = dict(Table.read("collective_network").split("system"))[(name,)]
    nodes, ranks, payload, bus, time_us = (
        rows.numbers(c) for c in ("nodes", "ranks", "bytes", "bus_gb_per_s", "time_us")
    )
    from_bus_s = np.asarray(bus_bytes("all_reduce", payload, ranks)) / (bus * 1e9)
    measured = np.where(np.isnan(time_us), from_bus_s, time_us * 1e-6)
    used: BoolArray = fitted_rows(name, nodes, payload) | every
    nodes, ranks, payload, measured = (c[used] for c in (nodes, ranks, payload, measured))
    start, free = np.array(STARTS[name]), list(FREE[name])

    def constants(logs: FloatArray) -> FloatArray:
        found = start.copy()
        found[free] = np.exp(logs)
        return found

    def loss(logs: FloatArray) -> float:
        link = network_link(system_of(name, constants(logs)), nodes, ranks)
        error = np.log(collective_s("all_reduce", payload, link) / measured) / TOLERATED_ERROR
        return float(np.mean(np.sqrt(1.0 + error**2) - 1.0))

    logs = np.log(start[free])
    for _ in range(ROUNDS):  # Nelder-Mead restarted from its own result leaves narrow valleys
        logs = minimize(loss, logs, method="Nelder-Mead", options={"adaptive": True}).x
    return constants(logs)


if __name__ == "__main__":
    print(", ".join(NAMES))
    for system in STARTS:
        found = fit(system, every="--all" in sys.argv)
        print(system, np.array2string(found, precision=3, suppress_small=True))
