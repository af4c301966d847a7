"""A directory of rows: part files that appear whole or not at all, and are never changed.

A batch of rows is written under a temporary name, synchronised to the disk, and renamed to
``part-<content>.parquet``. A process killed at any moment leaves the parts that were there, and
at most a temporary file that nobody reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from simulator.errors import SpecError
from simulator.sweep.columns import POINT, Column, Row
from simulator.sweep.extras import needs
from simulator.sweep.parquet import (
    DUCKDB_TYPES,
    ctrl_c,
    quoted_name,
    quoted_text,
    write_parquet,
)
from simulator.views import write_whole

with needs("sweep", "a sweep"):
    import duckdb

MANIFEST: Final = "sweep.json"
PARTS: Final = "part-*.parquet"
_FORMAT: Final = 1
_TABLE_HINT: Final = "the table is called rows; 'DESCRIBE rows' lists its columns"


@dataclass(frozen=True, slots=True)
class Store:
    """Rows of one sweep.

    Attributes:
        base: digest of what all rows share (``Space.base_digest``).
    """

    folder: Path
    columns: tuple[Column, ...]
    base: str

    def present(self) -> set[str]:
        """Ids of the points whose rows are there; writes nothing.

        Raises:
            SpecError: if the directory holds rows of another sweep, or files that are none of ours.
        """
        manifest = self.folder / MANIFEST
        if not manifest.exists():
            # A manifest that was killed while it was written, or that another shard writes now.
            unfinished = set(self.folder.glob(f".{MANIFEST}.*"))
            there = set(self.folder.iterdir()) if self.folder.exists() else set[Path]()
            if there - unfinished - {manifest}:
                raise SpecError(
                    f"'{self.folder}' is not empty and holds no sweep", hint="name a new directory"
                )
            return set()
        self._check(manifest)
        return {str(point) for (point,) in read(self.folder, f"SELECT {POINT} FROM rows").rows}

    def make(self) -> None:
        """Makes the directory, if it is not there.

        Raises:
            SpecError: if it holds rows of another sweep, which another process began meanwhile.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        manifest = self.folder / MANIFEST
        if not manifest.exists():
            write_whole(manifest, self._manifest())
        self._check(manifest)

    def open(self) -> set[str]:
        """Makes the directory, or finds out which rows it holds: ``present`` and ``make``."""
        there = self.present()
        self.make()
        return there

    def append(self, rows: Sequence[Row]) -> Path:
        """Adds one part file, all or nothing.

        The name is that of the content: the same rows written twice are one file.
        """
        names = [column.name for column in self.columns]
        text = "".join(json.dumps({name: row.get(name) for name in names}) + "\n" for row in rows)
        content = hashlib.sha256(text.encode()).hexdigest()[:32]
        temporary = self.folder / f".tmp-{uuid.uuid4().hex}"
        lines = temporary.with_suffix(".jsonl")
        try:
            lines.write_text(text, encoding="utf-8")
            write_parquet(lines, temporary, {column.name: column.kind for column in self.columns})
            _synchronise(temporary)
            part = self.folder / f"part-{content}.parquet"
            temporary.replace(part)
        finally:
            lines.unlink(missing_ok=True)
            temporary.unlink(missing_ok=True)
        _synchronise(self.folder)
        return part

    def _manifest(self) -> str:
        columns = [asdict(column) for column in self.columns]
        data = {"format": _FORMAT, "base": self.base, "columns": columns}
        return json.dumps(data, indent=2) + "\n"

    def _check(self, manifest: Path) -> None:
        if manifest.read_text(encoding="utf-8") != self._manifest():
            raise SpecError(
                f"'{self.folder}' holds rows of another sweep: of another scenario, other columns "
                "or another version of trainsim",
                where=str(manifest),
                hint="give another --out; values may be added to an axis, all else makes new rows",
            )


@dataclass(frozen=True, slots=True)
class Selection:
    """The answer to a query."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


def read(folder: Path, sql: str) -> Selection:
    """Runs SQL over the rows of a sweep, which are the table ``rows``.

    Raises:
        SpecError: if the directory holds no sweep, or the SQL is empty, or for what the
            database says of it.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise SpecError(
            f"'{folder}' holds no sweep",
            hint="run trainsim sweep FILE --out DIR first",
        )
    with ctrl_c(), duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW rows AS {_source(folder, manifest)}")
        try:
            if not duckdb.extract_statements(sql):
                raise SpecError("the query is empty", where="SQL", hint=_TABLE_HINT)
            result = connection.execute(sql)
            names = tuple(str(column[0]) for column in result.description or ())
            return Selection(names, tuple(tuple(row) for row in result.fetchall()))
        except duckdb.Error as error:
            raise SpecError(
                str(error).strip(),
                where="SQL",
                hint=_TABLE_HINT,
            ) from None


def _source(folder: Path, manifest: Path) -> str:
    """All parts as one table; of the equal rows of a point that ran twice at once, one."""
    if any(folder.glob(PARTS)):
        parts = quoted_text(str(folder / PARTS))
        return f"SELECT DISTINCT ON ({POINT}) * FROM read_parquet({parts})"
    columns = json.loads(manifest.read_text(encoding="utf-8"))["columns"]
    empty = [
        f"NULL::{DUCKDB_TYPES[column['kind']]} AS {quoted_name(column['name'])}"
        for column in columns
    ]
    return f"SELECT {', '.join(empty)} WHERE false"


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
