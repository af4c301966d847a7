"""Reads microbenchmarks: CSV with a header line, or JSON with a list of objects of those keys.

Times are in the column ``time_us``. A column ``accelerator`` may name devices, of which only the
wanted one is taken; columns that nobody asks for are ignored.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from simulator.errors import SpecError
from simulator.numeric import FloatArray

GEMM_COLUMNS = ("m", "n", "k", "time_us")
ATTENTION_COLUMNS = ("kernel", "head_dim", "batch", "heads", "tokens", "time_us")
MEMORY_COLUMNS = ("kernel", "bytes", "time_us")
COLLECTIVE_COLUMNS = ("kind", "ranks", "bytes", "time_us")


@dataclass(frozen=True, slots=True)
class Columns:
    """A table by columns of text; ``where`` names its file in errors."""

    where: str
    data: Mapping[str, Sequence[str]]

    @property
    def num_rows(self) -> int:
        """Rows of every column."""
        return len(next(iter(self.data.values()), ()))

    def numbers(self, name: str) -> FloatArray:
        """A column of positive numbers."""
        return np.array([self._number(name, i) for i in range(self.num_rows)])

    def _number(self, name: str, index: int) -> float:
        text = self.data[name][index]
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value <= 0:
            raise SpecError(
                f"{name} '{text[:40]}' is not a positive number",
                where=f"{self.where}, measurement {index + 1}",
            )
        return value

    def seconds(self) -> FloatArray:
        """The measured times."""
        return self.numbers("time_us") * 1e-6

    def texts(self, name: str, default: str) -> Sequence[str]:
        """A column in lower case; blank cells, or all where the column is missing, are default."""
        cells = self.data.get(name) or [""] * self.num_rows
        return [cell.lower() or default for cell in cells]

    def rows(self, indices: Sequence[int]) -> Columns:
        """Some of the rows."""
        return Columns(self.where, {k: [v[i] for i in indices] for k, v in self.data.items()})

    def split(self, *names: str) -> dict[tuple[str, ...], Columns]:
        """One table per combination of some columns, in order of appearance."""
        keys = list(zip(*(self.texts(name, "") for name in names), strict=True))
        return {
            key: self.rows([i for i, other in enumerate(keys) if other == key])
            for key in dict.fromkeys(keys)
        }

    def thinned(self, limit: int) -> Columns:
        """At most ``limit`` rows, evenly spaced."""
        if self.num_rows <= limit:
            return self
        return self.rows(np.linspace(0, self.num_rows - 1, limit).round().astype(int).tolist())


def read_columns(path: Path, required: Sequence[str], accelerator: str = "") -> Columns:
    """A table of microbenchmarks.

    Args:
        path: a CSV file, or a JSON file by its suffix.
        required: columns that must be there.
        accelerator: whose rows are taken where there is such a column.

    Raises:
        SpecError: if the file cannot be read, a column is missing, or no row is left.
    """
    records = records_of(path, read_text(path))
    missing = [name for name in required if any(name not in record for record in records)]
    if not records or missing:
        what = f"column '{missing[0]}' is missing" if missing else "there is no measurement"
        raise SpecError(what, where=str(path), hint=f"the columns are {', '.join(required)}")
    names = list(dict.fromkeys(name for record in records for name in record))
    table = Columns(str(path), {n: [record.get(n, "") for record in records] for n in names})
    if "accelerator" not in table.data or not accelerator:
        return table
    named = [i for i, name in enumerate(table.data["accelerator"]) if name in {accelerator, ""}]
    if not named:
        known = ", ".join(dict.fromkeys(table.data["accelerator"]))
        raise SpecError(
            f"no measurement is of {accelerator}", where=str(path), hint=f"there are {known}"
        )
    return table.rows(named)


def records_of(path: Path, text: str) -> list[dict[str, str]]:
    """Records of a CSV or JSON text, every value as text."""
    if path.suffix == ".json":
        try:
            data = cast("object", json.loads(text))
        except json.JSONDecodeError as error:
            where = f"{path}, line {error.lineno}"
            raise SpecError(f"not valid JSON: {error.msg}", where=where) from None
        if not isinstance(data, list):
            raise SpecError("not a list of measurements", where=str(path))
        rows = cast("list[object]", data)
        if not all(isinstance(row, dict) for row in rows):
            raise SpecError("a measurement is not an object", where=str(path))
        records = cast("list[dict[str, object]]", rows)
        return [{k: _text(v) for k, v in record.items()} for record in records]
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    reader = csv.DictReader(io.StringIO("\n".join(lines)))
    found: list[dict[str, str]] = []
    for record in reader:
        cells = cast("dict[str | None, object]", record)
        if None in cells or None in cells.values():
            raise SpecError(
                "the line has more or fewer cells than there are columns",
                where=f"{path}, line {reader.line_num}",
            )
        found.append({str(key): str(value).strip() for key, value in cells.items()})
    return found


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return "" if value is None else str(value)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        SpecError: if it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SpecError(f"there is no file '{path}'") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read '{path}': {error}") from None
