"""Fits the scalars of a software stack on published rows marked ``calibration``, and only those.

    python benchmarks/calibration/fit_stacks.py internevo gemm_scale
    python benchmarks/calibration/fit_stacks.py megatron-deepspeed-2021 layer_overhead_s \
        --source vtrain --source vtrain1

``--source`` keeps the rows of some tables only (those on a machine whose network is known).
Prints the fitted values and the error on the calibration rows before and after. The values are
copied by hand into ``hardware/stacks`` with the row count as their source. Test rows are refused:
the rows are filtered by role before anything is simulated.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from simulator.engine.breakdown import period_s
from simulator.published.mapping import Case, map_row
from simulator.published.rows import PublishedRow, read_rows
from simulator.published.validate import published_paths
from simulator.scenario import Scenario
from simulator.simulate import run_step
from simulator.spec.stacks import load_stack
from simulator.step import build_step

MAX_ROWS = 60
"""Rows used per stack, evenly spaced over the sources, so that no source outweighs the others."""
ROUNDS = 2
STEPS = (1.5, 1.25, 1.12, 1.06, 1.03, 1.015)
"""Factors tried up and down, coarse to fine."""
BOUNDS = {
    "gemm_scale": (1.0, 1.6),
    "memory_scale": (0.8, 2.5),
    "attention_scale": (0.8, 2.5),
    "network_scale": (0.2, 1.0),
    "blocking_p2p_scale": (1.0, 10.0),
    "layer_overhead_s": (1e-5, 5e-3),
    "microbatch_overhead_s": (1e-5, 1e-2),
    "step_overhead_s": (1e-3, 2.0),
}
"""What is physical: kernels no faster than measured alone, networks no faster than their links,
host work of microseconds per launch."""
STARTS = {
    "layer_overhead_s": (3e-4, 6e-4, 1.2e-3, 2.4e-3),
    "blocking_p2p_scale": (2.0, 3.0, 5.0),
}
"""Values from which a scalar also starts, where the loss is flat around small ones."""


@dataclass(frozen=True)
class Observation:
    scenario: Scenario
    measured_s: float


def step_time_s(scenario: Scenario) -> float:
    step = build_step(scenario)
    timeline, _ = run_step(step, "maxplus")
    return period_s(timeline, joined=step.schedule.joins_before_optimizer)


def observations(stack: str, sources: Sequence[str] = ()) -> list[Observation]:
    found: list[list[Observation]] = []
    for path in published_paths():
        if sources and path.stem not in sources:
            continue
        rows = [row for row in read_rows(path) if row.role == "calibration"]
        found.append([o for row in rows if (o := observation(row, stack)) is not None])
    found = [rows for rows in found if rows]
    quota = max(1, MAX_ROWS // max(len(found), 1))
    return [row for rows in found for row in evenly(rows, quota)]


def observation(row: PublishedRow, stack: str) -> Observation | None:
    case = map_row(row)
    if not isinstance(case, Case) or case.scenario.stack.name != stack:
        return None
    if case.step_time_s is None:
        return None
    return Observation(case.scenario, case.step_time_s)


def evenly(rows: list[Observation], count: int) -> list[Observation]:
    stride = max(1, math.ceil(len(rows) / count))
    return rows[::stride]


def errors(rows: Sequence[Observation], values: dict[str, float]) -> list[float]:
    return [
        math.log(step_time_s(replace(o.scenario, stack=replace(o.scenario.stack, **values))))
        - math.log(o.measured_s)
        for o in rows
    ]


def loss(rows: Sequence[Observation], values: dict[str, float]) -> float:
    """Mean of a Huber-like distance that outliers do not dominate."""
    return sum(math.sqrt(1 + (e / 0.05) ** 2) - 1 for e in errors(rows, values)) / len(rows)


def bounded(values: dict[str, float]) -> dict[str, float]:
    return {
        name: min(max(value, BOUNDS[name][0]), BOUNDS[name][1]) for name, value in values.items()
    }


def fit(rows: Sequence[Observation], start: dict[str, float]) -> dict[str, float]:
    """Coordinate descent over factors, coarse to fine, within ``BOUNDS``."""
    starts = [bounded(start)] + [
        bounded(start | {name: value}) for name in start for value in STARTS.get(name, ())
    ]
    best_loss, best = min(((loss(rows, values), values) for values in starts), key=lambda p: p[0])
    for factor in STEPS:
        for _ in range(ROUNDS):
            for name in start:
                for change in (factor, 1 / factor):
                    trial = bounded(best | {name: best[name] * change})
                    trial_loss = loss(rows, trial)
                    while trial_loss < best_loss - 1e-6:
                        best, best_loss = trial, trial_loss
                        trial = bounded(best | {name: best[name] * change})
                        trial_loss = loss(rows, trial)
    return best


def summary(values: Sequence[float]) -> str:
    ratios = sorted(math.expm1(e) for e in values)
    mape = sum(abs(r) for r in ratios) / len(ratios)
    return f"bias {ratios[len(ratios) // 2]:+.1%}, mean absolute error {mape:.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit scalars of a stack on calibration rows.")
    parser.add_argument("stack")
    parser.add_argument("scalar", nargs="+", choices=sorted(BOUNDS))
    parser.add_argument("--source", action="append", default=[], help="table of rows; repeatable")
    chosen = parser.parse_args()
    rows = observations(chosen.stack, chosen.source)
    if not rows:
        sys.exit(f"no calibration row runs on stack {chosen.stack}")
    shipped = load_stack(chosen.stack)
    start = {name: getattr(shipped, name) or 1e-4 for name in chosen.scalar}
    print(f"{chosen.stack}: {len(rows)} calibration rows; before: {summary(errors(rows, start))}")
    fitted = fit(rows, start)
    print(f"after: {summary(errors(rows, fitted))}")
    for name, value in fitted.items():
        print(f"  {name}: {value:.4g}")


if __name__ == "__main__":
    main()
