"""Finds calibration rows that are the same measurement as another row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from simulator.published.mapping import Case, map_row
from simulator.published.rows import PublishedRow

SAME_TIME: Final = 0.005
"""Relative difference of two times up to which they are one measurement: printed digits differ."""
_COLUMNS: Final = ("layers", "hidden", "seq_len", "n_gpus", "tp", "pp", "global_batch")

_REMARKS: Final = frozenset({"id", "source", "tier", "year", "citation", "confidence", "note"})
"""Columns that tell nothing about the run."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A calibration row that must not be fitted on."""

    source: str
    row_id: str
    test_source: str
    test_id: str

    def __str__(self) -> str:
        """``vtrain v-1 is sc21t1 sc-2``."""
        return f"{self.source} {self.row_id} is test row {self.test_source} {self.test_id}"


@dataclass(frozen=True, slots=True)
class Repeat:
    """A calibration row that says what an earlier one says."""

    source: str
    row_id: str
    first_source: str
    first_id: str

    def __str__(self) -> str:
        """``mine run-7 is row mine run-1``."""
        return f"{self.source} {self.row_id} is row {self.first_source} {self.first_id}"


def without_repeats(
    rows: Iterable[PublishedRow],
) -> tuple[tuple[PublishedRow, ...], tuple[Repeat, ...]]:
    """Rows of which no two calibration rows agree in all that is configured and measured.

    Two shipped rows of that kind are two runs that one source reports; in tables of one's own they
    are one run that was entered twice.
    """
    first: dict[frozenset[tuple[str, object]], PublishedRow] = {}
    kept: list[PublishedRow] = []
    repeats: list[Repeat] = []
    for row in rows:
        cells: dict[str, object] = {**row.texts, **row.numbers}
        key = frozenset(cell for cell in cells.items() if cell[0] not in _REMARKS)
        twin = first.setdefault(key, row) if row.role == "calibration" else row
        if twin is row:
            kept.append(row)
        else:
            repeats.append(Repeat(row.source, row.row_id, twin.source, twin.row_id))
    return tuple(kept), tuple(repeats)


def find_duplicates(
    cases: Iterable[Case], rows: Iterable[PublishedRow]
) -> Mapping[tuple[str, str], Duplicate]:
    """Duplicates by (source, id) of the calibration row.

    Two rows are one measurement when layers, hidden size, sequence length, devices, tensor and
    pipeline degree, batch and kind of accelerator agree and their times differ by at most
    ``SAME_TIME``, in tables of different names.

    Args:
        cases: rows to fit on, mapped.
        rows: all rows; those marked test are compared.
    """
    tested: dict[tuple[object, ...], list[PublishedRow]] = defaultdict(list)
    for row in rows:
        if row.role == "test":
            tested[_key(row)].append(row)
    found: dict[tuple[str, str], Duplicate] = {}
    for case in cases:
        twin = _twin(case, tested.get(_key(case.row), ()))
        if twin is not None:
            row = case.row
            place = (row.source, row.row_id)
            found[place] = Duplicate(*place, twin.source, twin.row_id)
    return found


def _twin(case: Case, candidates: Sequence[PublishedRow]) -> PublishedRow | None:
    if case.step_time_s is None:
        return None
    for row in candidates:
        if row.source == case.row.source:
            continue
        other = map_row(row)
        if isinstance(other, Case) and other.step_time_s is not None:
            difference = abs(other.step_time_s / case.step_time_s - 1.0)
            if difference <= SAME_TIME:
                return row
    return None


def _key(row: PublishedRow) -> tuple[object, ...]:
    """What a configuration is told by; degrees that are not stated are 1."""
    gpu = row.lower("gpu").split("-")[0].split(" ")[0]
    numbers = (row.number(column) or 1.0 for column in _COLUMNS)
    return (gpu, *numbers)
