"""Results as a table in a file: CSV or Parquet, as the name says."""

from __future__ import annotations

import csv
import io
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from simulator.errors import SpecError

if TYPE_CHECKING:
    from simulator.sweep.columns import Kind

Record: TypeAlias = Mapping[str, object]
"""A result by name; a nested one is a set of terms."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of as many cells as there are columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


def table_of(records: Sequence[Record]) -> Table:
    """A row per record, a column for every name that any of them has.

    A nested term is a column: ``{"losses": {"bubble": 1}}`` gives ``losses_bubble``. Where one
    record has terms and another has ``None`` in their place, the columns are those of the terms.
    """
    flattened = [flat(record) for record in records]
    nested = {name for record in records for name, v in record.items() if isinstance(v, Mapping)}
    empty = {name for name in nested if all(row.get(_column(name)) is None for row in flattened)}
    names = dict.fromkeys(name for row in flattened for name in row)
    columns = tuple(name for name in names if name not in {_column(name) for name in empty})
    return Table(columns, tuple(tuple(row.get(name) for name in columns) for row in flattened))


def flat(record: Record, prefix: str = "") -> dict[str, object]:
    """Nested mappings as one, lists as text: ``{"a": {"b": 1}, "c": [2, 3]}`` gives a_b and c.

    Names are those of SQL: a dot in one becomes ``_``. A ``None`` stays under its own name.
    """
    row: dict[str, object] = {}
    for name, value in record.items():
        column = prefix + _column(name)
        if isinstance(value, Mapping):
            row.update(flat(cast("Record", value), f"{column}_"))
        elif isinstance(value, list | tuple):
            row[column] = " ".join(map(str, cast("Sequence[object]", value)))
        else:
            row[column] = value
    return row


def csv_text(table: Table) -> str:
    """CSV with a header, numbers in full; what is missing is empty."""
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return page.getvalue()


def check_table_file(path: Path) -> None:
    """Refuses a file that cannot be written as a table, before anything is computed for it.

    Raises:
        SpecError: if its name ends in neither .csv nor .parquet, or Parquet is not installed.
    """
    if path.suffix == ".parquet":
        import_module("simulator.sweep.parquet")
    elif path.suffix != ".csv" and (path.is_file() or not path.exists()):
        raise SpecError(
            f"'{path.name[:80]}' does not end in .csv or .parquet",
            hint=f"name it for example '{path.stem[:40]}.csv'",
        )


def table_content(path: Path, table: Table) -> str | bytes:
    """What belongs into a file of this name; a device or a pipe without an ending gets CSV."""
    return parquet_bytes(table) if path.suffix == ".parquet" else csv_text(table)


def parquet_bytes(table: Table) -> bytes:
    """Parquet; the kind of a column is that of its values, text where they differ.

    Raises:
        SpecError: if there is no column or two have one name, or Parquet is not installed.
    """
    from simulator.sweep.columns import kind_of
    from simulator.sweep.parquet import write_parquet

    if not table.columns:
        raise SpecError("there is no result for a Parquet file", hint="take .csv or --json")
    twice = sorted({name for name in table.columns if table.columns.count(name) > 1})
    if twice:
        raise SpecError(f"two columns are called '{twice[0]}'", hint="Parquet needs other names")
    cells = list(zip(*table.rows, strict=True)) or [() for _ in table.columns]
    kinds: dict[str, Kind] = {
        name: kind_of(column) for name, column in zip(table.columns, cells, strict=True)
    }
    with tempfile.TemporaryDirectory() as folder:
        lines, parquet = Path(folder, "rows.jsonl"), Path(folder, "rows.parquet")
        with lines.open("w", encoding="utf-8") as file:
            for row in table.rows:
                cells_of = zip(table.columns, row, strict=True)
                data = {name: _cell(value, kinds[name]) for name, value in cells_of}
                file.write(json.dumps(data) + "\n")
        write_parquet(lines, parquet, kinds)
        return parquet.read_bytes()


def _column(name: str) -> str:
    return name.replace(".", "_")


def _cell(value: object, kind: Kind) -> object:
    """A value as JSON of its column's kind; what is no number is missing."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if kind == "text" and value is not None else value
