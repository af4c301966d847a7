"""Rows as one Parquet file, written by DuckDB."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from simulator.sweep.columns import Kind
from simulator.sweep.extras import needs

with needs("sweep", "Parquet"):
    import duckdb

DUCKDB_TYPES: Final[Mapping[Kind, str]] = {
    "int": "BIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "text": "VARCHAR",
}


def write_parquet(lines: Path, parquet: Path, kinds: Mapping[str, Kind]) -> None:
    """Turns a file with a JSON object per line into a Parquet file.

    Args:
        lines: the objects; what one has not is null.
        parquet: where to write.
        kinds: column -> kind, in the order of the columns.
    """
    types = ", ".join(
        f"{quoted_name(name)}: {quoted_text(DUCKDB_TYPES[kind])}" for name, kind in kinds.items()
    )
    source = (
        f"read_json({quoted_text(str(lines))}, format='newline_delimited', columns={{{types}}})"
    )
    with ctrl_c(), _database().cursor() as database:
        database.execute(
            f"COPY (SELECT * FROM {source}) TO {quoted_text(str(parquet))} (FORMAT parquet)"
        )


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """An empty database in memory: to open one takes several times as long as to write a part."""
    return duckdb.connect()


@contextmanager
def ctrl_c() -> Generator[None]:
    """Around DuckDB, which turns Ctrl-C into an error of its own."""
    try:
        yield
    except RuntimeError as error:
        if "interrupted" in str(error).lower():
            raise KeyboardInterrupt from None
        raise


def quoted_text(text: str) -> str:
    """Text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def quoted_name(name: str) -> str:
    """The name of a column as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'
