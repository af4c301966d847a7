"""Reads tables of published runs: one CSV file is one source, one line one measured run."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from simulator.errors import SpecError

Role = Literal["calibration", "test"]

REQUIRED_COLUMNS: Final = (
    "id",
    "layers",
    "hidden",
    "heads",
    "seq_len",
    "gpu",
    "n_gpus",
    "tp",
    "pp",
    "dp",
    "micro_batch",
    "global_batch",
    "precision",
    "framework",
    "step_time_s",
)
"""Columns without which no row can be run; a cell of them may be blank."""

_POSITIVE: Final = (
    *("layers", "hidden", "ffn", "heads", "kv_heads", "head_dim", "vocab", "seq_len"),
    *("n_params_b", "gpu_mem_gb", "n_gpus", "gpus_per_node", "tp", "pp", "vpp", "cp", "ep", "dp"),
    *("top_k", "moe_ffn"),
    *("micro_batch", "global_batch", "n_microbatches", "step_time_s", "tokens_per_s"),
    *("samples_per_s", "tflops_per_gpu", "mfu_pct", "hfu_pct", "memory_gb", "year"),
)
_FLAGS: Final = ("gated_mlp", "fits", "n_experts", "dropout")
NUMERIC_COLUMNS: Final = (*_POSITIVE, *_FLAGS)
"""Columns whose cells are numbers."""
MAX_BYTES: Final = 100_000_000
"""Largest table that is read; the largest shipped one has half a megabyte."""


class CannotRunError(SpecError):
    """A row that cannot be run as a scenario; its problem is the reason that is reported."""


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One published run. A blank cell is a value that the source does not state.

    Attributes:
        source: stem of the file.
        where: file and line, for errors.
        texts: column -> cell, without blank cells.
        numbers: numeric column -> value, without blank cells.
        problem: what is wrong with a cell, so that the row cannot be run; empty if nothing is.
    """

    source: str
    where: str
    row_id: str
    role: Role
    texts: Mapping[str, str]
    numbers: Mapping[str, float]
    problem: str = ""

    def text(self, column: str) -> str:
        """The cell, empty when blank."""
        return self.texts.get(column, "")

    def lower(self, column: str) -> str:
        """The cell in lower case, for matching words in it."""
        return self.text(column).lower()

    def number(self, column: str) -> float | None:
        """The number, None when blank."""
        return self.numbers.get(column)

    def integer(self, column: str) -> int | None:
        """The whole number, None when blank.

        Raises:
            CannotRunError: if the number is not whole (a source may print a mean).
        """
        value = self.numbers.get(column)
        if value is None:
            return None
        # Averages over a log print 7.99995 where 8 was set.
        if abs(value - round(value)) > 1e-4 * value:
            raise CannotRunError(f"{column} {value:g} is not a whole number")
        return round(value)

    def needed(self, column: str) -> int:
        """The whole number of a column without which the row cannot be run."""
        value = self.integer(column)
        if value is None:
            raise CannotRunError(f"{column} is not stated")
        return value


def read_rows(path: Path) -> tuple[PublishedRow, ...]:
    """All rows of a file.

    Raises:
        SpecError: if the file is missing or no CSV table, a required column is missing, or a cell
            is no number where one is needed; with the file and the line.
    """
    reader = csv.DictReader(io.StringIO(_read_text(path)), strict=True)
    try:
        _check_columns(path, tuple(reader.fieldnames or ()))
        return tuple(_rows(path, reader))
    except csv.Error as error:
        where = f"{path}, line {reader.line_num}"
        raise SpecError(f"not a CSV table: {error}", where=where) from None


def _rows(path: Path, reader: csv.DictReader[str]) -> Iterator[PublishedRow]:
    # DictReader files surplus cells under None and fills missing ones with None.
    for record in reader:
        where = f"{path}, line {reader.line_num}"
        cells: dict[str | None, object] = dict(record)
        if None in cells or None in cells.values():
            raise SpecError(
                "the line has more or fewer cells than there are columns",
                where=where,
                hint="quote cells that contain commas",
            )
        texts = {str(key): str(value).strip() for key, value in cells.items()}
        yield _row(path.stem, where, {key: text for key, text in texts.items() if text})


def _row(source: str, where: str, texts: Mapping[str, str]) -> PublishedRow:
    numbers: dict[str, float] = {}
    problem = ""
    for column in NUMERIC_COLUMNS:
        if column in texts:
            try:
                numbers[column] = parse_number(texts[column], column, where)
            except SpecError as error:
                problem = problem or f"column {column}: {error.problem}"
    row_id = texts.get("id", "")
    if not row_id:
        raise SpecError("the row has no id", where=where, hint="fill the column 'id'")
    role: Role
    match texts.get("role", "test"):
        case "calibration":
            role = "calibration"
        case "test":
            role = "test"
        case other:
            raise SpecError(
                f"role '{other}' is not 'calibration' or 'test'", where=f"{where}, column role"
            )
    return PublishedRow(source, where, row_id, role, texts, numbers, problem)


def parse_number(text: str, column: str, where: str) -> float:
    """The number in a cell of a numeric column.

    Raises:
        SpecError: if it is none, or not one that the column can hold.
    """
    place = f"{where}, column {column}"
    try:
        value = float(text)
    except ValueError:
        raise SpecError(
            f"'{text[:40]}' is not a number", where=place, hint="leave the cell blank if unknown"
        ) from None
    if not math.isfinite(value) or value < 0 or (value == 0 and column in _POSITIVE):
        least = "above 0" if column in _POSITIVE else "0 or more"
        raise SpecError(f"{column} {text} must be {least} and finite", where=place)
    return value


def _check_columns(path: Path, columns: tuple[str, ...]) -> None:
    if not columns:
        raise SpecError("the file is empty", where=str(path))
    missing = [name for name in REQUIRED_COLUMNS if name not in columns]
    if missing:
        quoted = ", ".join(f"'{name}'" for name in missing)
        raise SpecError(
            f"the column{'s' if missing[1:] else ''} {quoted} {'are' if missing[1:] else 'is'} "
            "missing",
            where=f"{path}, line 1",
            hint="benchmarks/published/README.md lists the columns; cells may be blank",
        )
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise SpecError(f"the column '{repeated[0]}' occurs twice", where=f"{path}, line 1")


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SpecError(f"there is no file '{path}'", hint="name a CSV file") from None
    except OSError as error:
        raise SpecError(f"cannot read '{path}': {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise SpecError(f"'{path}' is larger than {MAX_BYTES:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(
            f"'{path}' is not UTF-8 text (byte {error.start})", hint="save it as UTF-8 CSV"
        ) from None
