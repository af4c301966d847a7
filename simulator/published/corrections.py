"""What a table prints and its own source contradicts: one line of ``corrections.csv`` each.

A correction must follow from the source's documents or from rows marked ``calibration``, and say
what of it is assumed; it is listed among the notes of every row that it changes.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

from simulator.errors import SpecError
from simulator.published.rows import NUMERIC_COLUMNS, PublishedRow, parse_number
from simulator.spec.yaml_file import data_dir


@dataclass(frozen=True, slots=True)
class Correction:
    """A cell that is read otherwise than it is printed.

    Attributes:
        source: title of the source, as the column ``source`` gives it.
        model: the model whose rows are meant, as the column ``model`` gives it; blank for all.
        printed, used: the cell, blank where nothing is stated, and what it is taken for.
    """

    source: str
    model: str
    column: str
    printed: str
    used: str
    reason: str

    def applies_to(self, row: PublishedRow) -> bool:
        """Whether the row is of this source and model and prints this cell."""
        return (
            row.text("source") == self.source
            and self.model in ("", row.text("model"))
            and row.text(self.column) == self.printed
        )


def corrections_path() -> Path:
    """The shipped list of corrections."""
    return data_dir("published") / "corrections.csv"


@cache
def read_corrections() -> tuple[Correction, ...]:
    """All corrections, in the order of the file; errors as ``parse_corrections``."""
    path = corrections_path()
    return parse_corrections(path.read_text(encoding="utf-8"), path.name)


def parse_corrections(text: str, where: str) -> tuple[Correction, ...]:
    """The corrections of a table.

    Raises:
        SpecError: if a line has other columns, or what a number is taken for is none.
    """
    columns = [field.name for field in fields(Correction)]
    header, *lines = csv.reader(io.StringIO(text))
    if header != columns:
        raise SpecError(f"the first line is not '{','.join(columns)}'", where=f"{where}, line 1")
    found: list[Correction] = []
    for number, cells in enumerate(lines, 2):
        place = f"{where}, line {number}"
        if len(cells) != len(columns):
            raise SpecError(f"{len(cells)} cells instead of {len(columns)}", where=place)
        found.append(Correction(*cells))
        if found[-1].column in NUMERIC_COLUMNS:
            parse_number(found[-1].used, found[-1].column, place)
    return tuple(found)


def corrected(row: PublishedRow) -> tuple[PublishedRow, list[str]]:
    """The row as it is run, and a note for each cell that was read otherwise."""
    applied = [correction for correction in read_corrections() if correction.applies_to(row)]
    if not applied:
        return row, []
    texts = dict(row.texts) | {one.column: one.used for one in applied}
    numbers = dict(row.numbers) | {
        one.column: float(one.used) for one in applied if one.column in NUMERIC_COLUMNS
    }
    notes = [f"{one.column} {one.used}, not {one.printed or 'stated'}" for one in applied]
    return replace(row, texts=texts, numbers=numbers), notes
