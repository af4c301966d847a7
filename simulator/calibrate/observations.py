"""Rows of tables as what a fit needs: the scenario, the measured time, and which rows count."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from simulator.calibrate.duplicates import Duplicate, find_duplicates
from simulator.calibrate.predict import contention
from simulator.errors import SpecError, TrainsimError
from simulator.published.mapping import Case, map_row
from simulator.published.rows import PublishedRow, read_rows
from simulator.scenario import Scenario, check
from simulator.simulate import setting_of
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
    """

    source: str
    row_id: str
    role: str
    scenario: Scenario
    setting: Setting
    measured_s: float
    contention: float

    @property
    def stack(self) -> str:
        """Name of the stack it runs on."""
        return self.scenario.stack.name


@dataclass(frozen=True, slots=True)
class Observations:
    """All rows that can be run, and the calibration rows that were set aside."""

    rows: tuple[Observation, ...]
    duplicates: tuple[Duplicate, ...]

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
            raise SpecError(
                f"all {len(rows)} rows ({named}{', ...' if len(rows) > 5 else ''}) are marked "
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
    on_row: Callable[[], None] = lambda: None,
) -> Observations:
    """The rows that can be run and have a time, without duplicates of test rows.

    Args:
        rows: to observe, those of other roles are passed over.
        all_rows: where test rows are looked for that a calibration row repeats.
        stack: path of a stack on which all rows run; empty for that of their framework.
        roles: of the rows to observe.
        pool: shares the work.
        on_row: called after every row.
    """
    chosen = [row for row in rows if row.role in roles]
    work = partial(_observed, stack=stack)
    found: list[tuple[Case, float]] = []
    results = map(work, chosen) if pool is None else pool.map(work, chosen, chunksize=_CHUNK)
    for result in results:
        on_row()
        if result is not None:
            found.append(result)
    fitted = [case for case, _ in found if case.row.role == "calibration"]
    duplicates = find_duplicates(fitted, all_rows)
    kept = [
        _observation(case, factor)
        for case, factor in found
        if (case.row.source, case.row.row_id) not in duplicates
    ]
    return Observations(tuple(kept), tuple(duplicates.values()))


def evenly(rows: Sequence[Observation], limit: int = MAX_ROWS) -> tuple[Observation, ...]:
    """At most ``limit`` rows, the same number of every source as far as it has them."""
    sources = dict.fromkeys(row.source for row in rows)
    quota = max(1, limit // max(len(sources), 1))
    chosen: list[Observation] = []
    for source in sources:
        own = [row for row in rows if row.source == source]
        chosen += own[:: math.ceil(len(own) / quota)]
    return tuple(chosen)


def _observed(row: PublishedRow, stack: str) -> tuple[Case, float] | None:
    case = map_row(row, stack=stack)
    if not isinstance(case, Case) or case.step_time_s is None:
        return None
    try:
        check(case.scenario)
        return case, contention(case.scenario)
    except TrainsimError:
        return None  # the validation says why it cannot be run


def _observation(case: Case, factor: float) -> Observation:
    assert case.step_time_s is not None
    row, scenario = case.row, case.scenario
    return Observation(
        row.source, row.row_id, row.role, scenario, setting_of(scenario), case.step_time_s, factor
    )
