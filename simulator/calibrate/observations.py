"""Rows of tables as what a fit needs: the scenario, the measured time, and which rows count."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from simulator.calibrate.duplicates import Duplicate, find_duplicates
from simulator.calibrate.predict import contention
from simulator.errors import SpecError, TrainsimError
from simulator.progress import Progress, followed, silent
from simulator.published.corrections import corrected
from simulator.published.mapping import Case, Skipped, map_row
from simulator.published.megascale import apply_features
from simulator.published.rows import PublishedRow, read_rows
from simulator.published.software import stack_settings
from simulator.scenario import Scenario, check
from simulator.simulate import setting_of
from simulator.spec.yaml_file import data_dir
from simulator.uncertainty import Setting

MAX_ROWS = 90
"""Rows of one stack that are used, evenly spaced over its sources, so that no source outweighs
the others by its length alone."""
_CHUNK = 8


@dataclass(frozen=True, slots=True)
class Observation:
    """One measured run.

    Attributes:
        contention: what sharing of links adds to the time of the max-plus engine, as a factor.
        table: its file; shipped ones by their place in the repository.
    """

    source: str
    row_id: str
    role: str
    scenario: Scenario
    setting: Setting
    measured_s: float
    contention: float
    table: str = ""

    @property
    def stack(self) -> str:
        """Name of the stack it runs on."""
        return self.scenario.stack.name


@dataclass(frozen=True, slots=True)
class Observations:
    """All rows that can be run.

    Attributes:
        duplicates: calibration rows that were set aside.
        skipped: rows that cannot be run or have no time, and why.
    """

    rows: tuple[Observation, ...]
    duplicates: tuple[Duplicate, ...]
    skipped: tuple[Skipped, ...] = ()

    def of(self, stacks: Iterable[str], role: str) -> tuple[Observation, ...]:
        """Rows of some stacks in one role."""
        wanted = set(stacks)
        return tuple(row for row in self.rows if row.stack in wanted and row.role == role)


def read_tables(paths: Sequence[Path]) -> tuple[PublishedRow, ...]:
    """All rows of some tables.

    Raises:
        SpecError: if a table cannot be read.
    """
    return tuple(row for path in paths for row in read_rows(path))


def refuse_test_rows(paths: Sequence[Path]) -> None:
    """Tables named for fitting must hold calibration rows.

    Raises:
        SpecError: for the first table of test rows only.
    """
    for path in paths:
        rows = read_rows(path)
        if not any(row.role == "calibration" for row in rows):
            named = ", ".join(row.row_id for row in rows[:5])
            if not rows:
                raise SpecError("the table has no rows", where=str(path))
            what, are = (f"all {len(rows)} rows", "are") if rows[1:] else ("the only row", "is")
            raise SpecError(
                f"{what} ({named}{', ...' if len(rows) > 5 else ''}) {are} marked "
                "test: constants are never fitted on them",
                where=f"{path}, column role",
                hint="mark the rows that may be fitted on with role calibration",
            )


def observe(
    rows: Sequence[PublishedRow],
    *,
    all_rows: Sequence[PublishedRow],
    stack: str = "",
    roles: frozenset[str] = frozenset({"calibration"}),
    pool: ProcessPoolExecutor | None = None,
    progress: Progress = silent,
) -> Observations:
    """The rows that can be run and have a time, without duplicates of test rows; and the others.

    Args:
        rows: to observe, those of other roles are passed over.
        all_rows: where test rows are looked for that a calibration row repeats.
        stack: path of a stack on which all rows run; empty for that of their framework.
        roles: of the rows to observe.
        pool: shares the work.
        progress: told how many rows are read.
    """
    chosen = [row for row in rows if row.role in roles]
    work = partial(_observed, stack=stack)
    found: list[tuple[Case, float]] = []
    skipped: list[Skipped] = []
    results = map(work, chosen) if pool is None else pool.map(work, chosen, chunksize=_CHUNK)
    what = f"Reading {' and '.join(sorted(roles))} rows"
    for result in followed(results, what, progress, len(chosen)):
        if isinstance(result, Skipped):
            skipped.append(result)
        else:
            found.append(result)
    fitted = [case for case, _ in found if case.row.role == "calibration"]
    duplicates = find_duplicates(fitted, all_rows)
    kept = [
        _observation(case, factor)
        for case, factor in found
        if (case.row.source, case.row.row_id) not in duplicates
    ]
    return Observations(tuple(kept), tuple(duplicates.values()), tuple(skipped))


def evenly(rows: Sequence[Observation], limit: int = MAX_ROWS) -> tuple[Observation, ...]:
    """At most ``limit`` rows, the same number of every source as far as it has them."""
    sources = dict.fromkeys(row.source for row in rows)
    quota = max(1, limit // max(len(sources), 1))
    chosen: list[Observation] = []
    for source in sources:
        own = [row for row in rows if row.source == source]
        chosen += own[:: math.ceil(len(own) / quota)]
    return tuple(chosen)


def stack_of(row: PublishedRow) -> str:
    """The stack of a row's framework, found without mapping the rest of it."""
    row, _ = corrected(row)
    settings, _ = stack_settings(row)
    apply_features(row, {}, {}, settings)
    return str(settings["preset"])


def _observed(row: PublishedRow, stack: str) -> tuple[Case, float] | Skipped:
    case = map_row(row, stack=stack)
    if isinstance(case, Skipped):
        return case
    if case.step_time_s is None:
        return Skipped(row, "no step time was measured")
    if case.scenario.model.num_experts:
        # What routing costs the host would pass for the cost of every layer.
        return Skipped(row, "constants are fitted on models without experts")
    if case.scenario.training.fine_tuning is not None:
        # So would what adapters and frozen weights cost.
        return Skipped(row, "constants are fitted on runs that train all weights")
    try:
        check(case.scenario)
        return case, contention(case.scenario)
    except TrainsimError as error:
        return Skipped(row, error.problem)


def _observation(case: Case, factor: float) -> Observation:
    assert case.step_time_s is not None
    row, scenario = case.row, case.scenario
    return Observation(
        source=row.source,
        row_id=row.row_id,
        role=row.role,
        scenario=scenario,
        setting=setting_of(scenario),
        measured_s=case.step_time_s,
        contention=factor,
        table=_table(row),
    )


def _table(row: PublishedRow) -> str:
    path = Path(row.where.rpartition(", line ")[0])
    shipped = path.parent == data_dir("published")
    return f"benchmarks/published/{path.name}" if shipped else str(path)
