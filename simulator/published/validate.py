"""Runs published rows through the simulator and compares what it says with what was measured."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

from simulator.errors import SpecError, TrainsimError
from simulator.progress import Progress, followed, silent
from simulator.published.facts import facts_of
from simulator.published.mapping import Case, Skipped, map_row
from simulator.published.metrics import relative_error
from simulator.published.results import RowResult, ValidationResult, validation_result
from simulator.published.rows import PublishedRow, read_rows
from simulator.report.report import RANGE_BASIS, RankMemory, Report
from simulator.scenario import Scenario
from simulator.simulate import simulate
from simulator.spec.yaml_file import data_dir

_OTHER_TABLES: Final = ("memory-facts", "corrections")
"""Shipped tables that hold no runs."""


_PARALLEL_ROWS: Final = 100
"""Fewer rows are done before other processes have started."""
_CHUNK_ROWS: Final = 16
"""Rows that a process takes at once: enough to hide the transfer, few enough to end together."""


def published_paths() -> tuple[Path, ...]:
    """The shipped tables of runs, sorted by name."""
    paths = sorted(data_dir("published").glob("*.csv"))
    return tuple(path for path in paths if path.stem not in _OTHER_TABLES)


def validate(
    paths: Sequence[Path] | None = None,
    progress: Progress = silent,
    run: Callable[[Scenario], Report] | None = None,
    workers: int | None = None,
    stack: str = "",
) -> ValidationResult:
    """Predicts every row and compares it with its measurement.

    Args:
        paths: tables to read; None for the shipped ones.
        progress: told how many rows are predicted.
        run: what predicts; None for the simulator, without its search for memory levers.
        workers: processes that share long tables; None for one per processor.
        stack: name or path of a stack on which all rows run; empty for that of their framework.

    Raises:
        SpecError: if a table cannot be read. A row that cannot be run is a result, not an error.
    """
    chosen = published_paths() if paths is None else tuple(paths)
    if not chosen:
        raise SpecError("no table of published runs was given", hint="name a CSV file")
    rows = [row for path in chosen for row in read_rows(path)]
    predict = run or partial(simulate, levers=False)
    check = partial(check_row, run=predict, stack=stack)
    results = _results(rows, check, workers or os.cpu_count() or 1)
    return validation_result(list(followed(results, "Predicting rows", progress, len(rows))))


def _results(
    rows: Sequence[PublishedRow], check: Callable[[PublishedRow], RowResult], workers: int
) -> Iterator[RowResult]:
    """The result of every row, in order."""
    if workers == 1 or len(rows) < _PARALLEL_ROWS:
        yield from map(check, rows)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(check, rows, chunksize=_CHUNK_ROWS)


def check_row(row: PublishedRow, run: Callable[[Scenario], Report], stack: str = "") -> RowResult:
    """The result of one row, on the stack of its framework or on another one."""
    case = map_row(row, stack=stack)
    if isinstance(case, Skipped):
        return _skipped(row, case.reason)
    try:
        report = run(case.scenario)
    except TrainsimError as error:
        return _skipped(row, error.problem)
    return _compared(case, report)


def _skipped(row: PublishedRow, reason: str) -> RowResult:
    return RowResult(row.row_id, row.source, row.role, row.text("tier"), "skipped", (reason,))


def _compared(case: Case, report: Report) -> RowResult:
    row, measured, memory = case.row, case.step_time_s, case.memory_bytes
    predicted = comparable_memory_bytes(report, row.lower("memory_kind"))
    return RowResult(
        row_id=row.row_id,
        source=row.source,
        role=row.role,
        tier=row.text("tier"),
        status="ok",
        notes=case.notes,
        measured_step_time_s=measured,
        predicted_step_time_s=report.step_time_s,
        error=None if measured is None else relative_error(report.step_time_s, measured),
        range_low_s=report.step_time_low_s,
        range_high_s=report.step_time_high_s,
        measured_memory_bytes=memory,
        predicted_memory_bytes=predicted,
        memory_error=None if memory is None else relative_error(predicted, memory),
        fits_measured=case.fits,
        fits_predicted=report.memory.fits,
        facts=facts_of(case.scenario, row.text("repeat_of") or row.row_id, row.text("conditions")),
        simulated=row.lower("step_time_origin") == "predicted",
        range_basis=report.provenance.get(RANGE_BASIS, ""),
    )


def comparable_memory_bytes(report: Report, kind: str) -> float:
    """Peak memory as the row's tool sees it.

    A framework's allocator does not see the device context nor the communicators, and counts
    fragmentation only in what it has reserved; a driver sees everything.

    Args:
        report: of the row.
        kind: the ``memory_kind`` column in lower case.
    """
    rank = _observed_rank(report, kind)
    unseen: tuple[str, ...] = ()
    if "allocated" in kind:
        unseen = ("framework", "communicators", "fragmentation")
    elif "reserved" in kind:
        unseen = ("framework", "communicators")
    return rank.peak_bytes - sum(rank.terms.get(term, 0.0) for term in unseen)


def _observed_rank(report: Report, kind: str) -> RankMemory:
    ranks = report.memory.rank_classes
    if "last rank" in kind:
        return ranks[-1]
    if "rank-0" in kind:
        return ranks[0]
    worst = report.memory.worst_rank_class
    return next(rank for rank in ranks if rank.rank_class == worst)
