"""Rows as one Parquet file, written by DuckDB."""

from __future__ import annotations

from collections.abc import Mapping
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
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * FROM {source}) TO {quoted_text(str(parquet))} (FORMAT parquet)"
        )


def quoted_text(text: str) -> str:
    """Text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def quoted_name(name: str) -> str:
    """The name of a column as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'
