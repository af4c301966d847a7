"""Points in, rows out: what runs on the workers of a sweep. Pure, so that any worker may do it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulator.errors import TrainsimError
from simulator.report.report import Report
from simulator.report.shortage import shortage
from simulator.simulate import simulate
from simulator.spec.load import Parts, load_parts, parse_scenario
from simulator.spec.scenario import ScenarioSpec
from simulator.sweep.columns import (
    DOES_NOT_FIT,
    ERROR,
    INFEASIBLE,
    OK,
    REASON,
    STATUS,
    Column,
    Row,
    value_cells,
)
from simulator.sweep.metrics import METRICS
from simulator.sweep.points import Point, assigned, section_key


@dataclass(frozen=True, slots=True)
class Job:
    """What all points of a sweep share; travels to the workers with every batch.

    Attributes:
        base: the scenario as data, before the values of a point.
        base_dir: directory against which paths in it are resolved, the same on every worker.
    """

    base: Mapping[str, object]
    base_dir: Path
    columns: tuple[Column, ...]
    metrics: tuple[str, ...]


def evaluate_points(job: Job, points: Sequence[Point]) -> list[Row]:
    """One row per point, in order, whatever becomes of it. The same row for the same point."""
    parts: dict[str, Parts] = {}
    return [_row(job, point, parts) for point in points]


def timed_points(job: Job, points: Sequence[Point]) -> tuple[list[Row], float]:
    """The rows of some points, and the seconds that they took."""
    began_s = time.perf_counter()
    rows = evaluate_points(job, points)
    return rows, time.perf_counter() - began_s


def _row(job: Job, point: Point, known: dict[str, Parts]) -> Row:
    row = value_cells(point, job.columns)
    data = assigned(job.base, dict(point.values))
    key = section_key(data)

    def parts_of(spec: ScenarioSpec, where: str, base_dir: Path) -> Parts:
        if key not in known:
            known[key] = load_parts(spec, where, base_dir)
        return known[key]

    try:
        scenario = parse_scenario(data, base_dir=job.base_dir, parts_of=parts_of)
        report = simulate(scenario, levers=False)
        cells: Row = {name: METRICS[name](report) for name in job.metrics}
        status, reason = (OK, "") if report.memory.fits else (DOES_NOT_FIT, _excess(report))
    except TrainsimError as error:
        cells, status, reason = {}, INFEASIBLE, error.problem
    except (MemoryError, OSError):
        raise  # of the worker, not of the point: another one may have more
    except Exception as error:
        cells, status, reason = {}, ERROR, f"{type(error).__name__}: {error}"[:200]
    return {**row, STATUS: status, REASON: reason, **dict.fromkeys(job.metrics), **cells}


def _excess(report: Report) -> str:
    return str(shortage(report.memory))
