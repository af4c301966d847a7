"""Fits the all-to-all constants of nodes on their nccl-tests tables.

    python -m benchmarks.kernels.fit_all_to_all

Minimises a mean of the absolute log error, which outliers of single sizes do not rule: small line
(base, rate of one peer), hop, ramp line, bulk line, and the bulk rate of every group size, which
the ramp shares as a factor. Needs scipy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from benchmarks.kernels.evaluate import Table
from simulator.numeric import FloatArray

STARTS = ((10.0, 20.0), (14.0, 25.0), (12.0, 30.0))
"""base us of the ramp and of the bulk line."""
ROUNDS = 6
REPEATABILITY = 0.03
"""Errors below it count quadratically: tables of two campaigns differ as much."""


@dataclass(frozen=True)
class Fit:
    """Constants of one node, in us and GB/s, and the mean absolute error they leave."""

    small_base: float
    peer: float
    hop: float
    ramp_base: float
    ramp: float
    bulk_base: float
    bulk: dict[int, float]
    mape: float


def predicted_us(
    logs: FloatArray, ranks: FloatArray, payload: FloatArray, sizes: FloatArray
) -> FloatArray:
    """The formula of ``cost/collective/all_to_all.py`` in one node."""
    small_base, peer, hop, ramp_base, ramp, bulk_base, *rates = np.exp(logs)
    moved = payload * (ranks - 1) / ranks * 1e-3  # kB at GB/s are us
    bulk = np.interp(np.log2(ranks), np.log2(sizes), rates)
    small_us = small_base + payload / ranks * 1e-3 / peer
    ramp_us = ramp_base + moved / (ramp * bulk / rates[-1])
    return hop * ranks + np.minimum(np.minimum(small_us, ramp_us), bulk_base + moved / bulk)


def fit(table: Table) -> Fit:
    """The constants of one accelerator's rows."""
    ranks, payload, measured = (table.numbers(c) for c in ("ranks", "bytes", "time_us"))
    sizes = np.array(sorted(set(ranks.tolist())))

    def loss(logs: FloatArray) -> float:
        error = np.log(predicted_us(logs, ranks, payload, sizes) / measured)
        return float(np.mean(np.sqrt(REPEATABILITY**2 + error**2)))

    found: list[tuple[float, FloatArray]] = []
    for ramp_base, bulk_base in STARTS:
        start = [measured.min(), 6.0, 0.1, ramp_base, 200.0, bulk_base, *[300.0] * len(sizes)]
        logs = np.log(start)
        for _ in range(ROUNDS):  # Nelder-Mead restarted from its own result
            options = {"adaptive": True, "maxiter": 6000, "maxfev": 6000}
            logs = minimize(loss, logs, method="Nelder-Mead", options=options).x
        found.append((loss(logs), logs))
    logs = min(found, key=lambda one: one[0])[1]
    error = predicted_us(logs, ranks, payload, sizes) / measured - 1
    (*six,) = np.exp(logs[:6]).tolist()
    bulk = dict(zip(map(int, sizes), np.exp(logs[6:]).tolist(), strict=True))
    return Fit(*six, bulk=bulk, mape=float(np.abs(error).mean()))


if __name__ == "__main__":
    for (name, kind), rows in Table.read("collective_node").split("accelerator", "kind"):
        if kind == "all_to_all":
            print(name, fit(rows))
