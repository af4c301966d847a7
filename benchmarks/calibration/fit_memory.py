"""Fits the fragmentation of a stack on calibration rows that report memory, and prints it.

    python benchmarks/calibration/fit_memory.py [--source bloomA100] [--step 0.01]

Fragmentation is what the allocator loses of the bytes that come and go. The other terms are those
of the model; the value with the least mean absolute error is printed beside its neighbours. Only
rows with role=calibration are read.
"""

from __future__ import annotations

import argparse

import numpy as np

from simulator.numeric import FloatArray
from simulator.published.mapping import Case, map_row
from simulator.published.rows import read_rows
from simulator.published.validate import published_paths
from simulator.simulate import simulate

LARGEST = 0.5
COMES_AND_GOES = ("activations", "logits", "buffers")


def terms_of(source: str) -> FloatArray:
    """Bytes that are fixed, that come and go, and that were measured. [rows, 3]."""
    (path,) = (path for path in published_paths() if path.stem == source)
    cases = [map_row(row) for row in read_rows(path) if row.role == "calibration"]
    rows: list[tuple[float, float, float]] = []
    for case in cases:
        if not isinstance(case, Case) or case.memory_bytes is None:
            continue
        memory = simulate(case.scenario, levers=False).memory
        # The largest rank may change with fragmentation; the difference is small.
        terms = max(memory.rank_classes, key=lambda rank: rank.peak_bytes).terms
        moving = sum(terms[name] for name in COMES_AND_GOES)
        fixed = sum(terms.values()) - terms["fragmentation"] - moving
        rows.append((fixed, moving, case.memory_bytes))
    return np.array(rows)


def main() -> None:
    """Prints the errors over a range of values, and the best value."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", default="bloomA100")
    parser.add_argument("--step", type=float, default=0.01)
    options = parser.parse_args()
    fixed, moving, measured = terms_of(options.source).T
    values = np.arange(0.0, LARGEST, options.step)
    errors = (fixed + (1 + values[:, None]) * moving) / measured - 1
    sizes = np.abs(errors).mean(axis=1)
    best = int(np.argmin(sizes))
    for row in range(max(best - 3, 0), min(best + 4, values.size)):
        bias = errors[row].mean()
        mark = " <- best" if row == best else ""
        print(f"{values[row]:.3f}: mean error {sizes[row]:.4f}, bias {bias:+.4f}{mark}")
    print(f"{measured.size} calibration rows of {options.source}")


if __name__ == "__main__":
    main()
