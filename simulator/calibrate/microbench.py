"""Reads microbenchmarks: CSV with a header line, or JSON with a list of objects of those keys.

Times are in the column ``time_us``. A column ``accelerator`` may name devices, of which only the
wanted one is taken; columns that nobody asks for are ignored.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import numpy as np

from simulator.errors import SpecError, UnknownNameError
from simulator.numeric import FloatArray

GEMM_COLUMNS = ("m", "n", "k", "time_us")
ATTENTION_COLUMNS = ("kernel", "head_dim", "batch", "heads", "tokens", "time_us")
MEMORY_COLUMNS = ("kernel", "bytes", "time_us")
COLLECTIVE_COLUMNS = ("kind", "ranks", "bytes", "time_us")
Record = dict[str, str]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Columns:
    """A table by columns of text.

    Attributes:
        where: its file, for errors.
        data: name -> cells.
        places: of the rows in the file, for errors; empty where they are not known.
    """

    where: str
    data: Mapping[str, Sequence[str]]
    places: Sequence[str] = ()

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
                where=self._place(index),
            )
        return value

    def _place(self, index: int) -> str:
        place = self.places[index] if self.places else f"measurement {index + 1}"
        return f"{self.where}, {place}"

    def whole(self, name: str) -> list[int]:
        """A column of positive whole numbers; 64.0 is one."""
        values = self.numbers(name).tolist()
        for index, value in enumerate(values):
            if value != int(value):
                text = self.data[name][index]
                raise SpecError(f"{name} '{text}' is not a whole number", where=self._place(index))
        return [int(value) for value in values]

    def words(self, name: str, default: str, known: Iterable[str], kind: str = "") -> list[str]:
        """A column of ``known`` words, see ``texts``; ``kind`` is what errors call it."""
        found, words = list(self.texts(name, default)), set(known)
        for index, word in enumerate(found):
            if word not in words:
                raise UnknownNameError.of(kind or name, word, words, where=self._place(index))
        return found

    def seconds(self) -> FloatArray:
        """The measured times."""
        return self.numbers("time_us") * 1e-6

    def texts(self, name: str, default: str) -> Sequence[str]:
        """A column in lower case; blank cells, or all where the column is missing, are default."""
        cells = self.data.get(name) or [""] * self.num_rows
        return [cell.strip().lower() or default for cell in cells]

    def rows(self, indices: Sequence[int]) -> Columns:
        """Some of the rows."""
        data = {name: [cells[i] for i in indices] for name, cells in self.data.items()}
        return Columns(self.where, data, [self.places[i] for i in indices] if self.places else ())

    def split(self, keys: Sequence[Key]) -> dict[Key, Columns]:
        """One table per key of the rows, in order of appearance."""
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
    places, records = _records_of(path, read_text(path))
    missing = [name for name in required if any(name not in record for record in records)]
    if not records or missing:
        what = f"column '{missing[0]}' is missing" if missing else "there is no measurement"
        raise SpecError(what, where=str(path), hint=f"the columns are {', '.join(required)}")
    names = list(dict.fromkeys(name for record in records for name in record))
    data = {name: [record.get(name, "") for record in records] for name in names}
    table = Columns(str(path), data, places)
    if "accelerator" not in table.data or not accelerator:
        return table
    named = [i for i, name in enumerate(table.data["accelerator"]) if name in {accelerator, ""}]
    if not named:
        known = ", ".join(dict.fromkeys(table.data["accelerator"]))
        raise SpecError(
            f"no measurement is of {accelerator}", where=str(path), hint=f"there are {known}"
        )
    return table.rows(named)


def _records_of(path: Path, text: str) -> tuple[list[str], list[Record]]:
    """Places and records of a CSV or JSON text, every value as text."""
    if path.suffix != ".json":
        return _lines_of(path, text)
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
    places = [f"measurement {i}" for i in range(1, len(records) + 1)]
    return places, [{k: _text(v) for k, v in record.items()} for record in records]


def _lines_of(path: Path, text: str) -> tuple[list[str], list[Record]]:
    numbers = [0]

    def lines() -> Iterator[str]:
        for number, line in enumerate(text.splitlines(keepends=True), 1):
            if line.strip() and not line.startswith("#"):
                numbers[0] = number
                yield line

    places: list[str] = []
    found: list[Record] = []
    for record in csv.DictReader(lines()):
        cells = cast("dict[str | None, object]", record)
        place = f"line {numbers[0]}"
        if None in cells or None in cells.values():
            raise SpecError(
                "the line has more or fewer cells than there are columns",
                where=f"{path}, {place}",
            )
        places.append(place)
        found.append({str(key).strip(): str(value).strip() for key, value in cells.items()})
    return places, found


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
    except OSError as error:
        raise SpecError(f"cannot read '{path}': {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SpecError(
            f"'{path}' is not UTF-8 text (byte {error.start})", hint="save it as UTF-8 text"
        ) from None
