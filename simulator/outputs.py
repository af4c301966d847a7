"""The files that a command writes beside what it prints: tables and one page."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from simulator.console import write
from simulator.errors import SpecError

if TYPE_CHECKING:
    from simulator.table_file import Table

_TABLES: Final = (".csv", ".parquet")
_PAGES: Final = (".html", ".htm")
_DRAWINGS: Final = (".svg",)


@dataclass(frozen=True, slots=True)
class Outputs:
    """Files that were checked before the work began."""

    tables: tuple[Path, ...]
    html: Path | None

    def write(self, records: Sequence[Mapping[str, object]], page: Callable[[], str]) -> None:
        """Writes all of them, each whole or not at all.

        Args:
            records: a row of the tables each.
            page: makes the HTML page, if there is to be one.
        """
        if self.tables:
            from simulator.table_file import table_of

            self.write_tables(table_of(records))
        if self.html is not None:
            write(self.html, page())

    def write_tables(self, table: Table) -> None:
        """Writes the tables alone."""
        from simulator.table_file import table_content

        for path in self.tables:
            write(path, table_content(path, table))


def checked_outputs(
    tables: Sequence[Path] | None,
    html: Path | None,
    *reads: str,
    svg: Path | None = None,
    others: Sequence[Path | None] = (),
) -> Outputs:
    """The files to write.

    Args:
        tables: of --table.
        html: of --html.
        reads: scenarios, which no output may replace.
        svg: of --svg.
        others: further outputs of the command.

    Raises:
        SpecError: if a name says another format, Parquet is not installed, or an output would
            replace a scenario or another output, or cannot be written.
    """
    for path in tables or ():
        from simulator.table_file import check_table_file

        check_table_file(path)
    _check_suffix("--html", html, _PAGES)
    _check_suffix("--svg", svg, _DRAWINGS)
    check_distinct(reads, *(tables or ()), html, svg, *others)
    return Outputs(tuple(tables or ()), html)


def _check_suffix(option: str, path: Path | None, suffixes: tuple[str, ...]) -> None:
    if path is None or path.suffix.lower() in suffixes:
        return
    if path.is_relative_to("/dev") or path.is_fifo():
        return  # A device or a pipe has the name it has.
    hint = f"name it {path.with_suffix(suffixes[0]).name[:80]}" if path.name else ""
    if path.suffix.lower() in _TABLES:
        hint = f"write --table {path} for a table"
    names = " or ".join(suffixes)
    raise SpecError(f"'{path.name[:80]}' does not end in {names}", where=option, hint=hint)


def check_distinct(reads: Sequence[str], *outputs: Path | None) -> None:
    """Refuses outputs that replace a scenario or one another.

    Raises:
        SpecError: for the first that does, or that cannot be written.
    """
    read = [Path(name).resolve() for name in reads]
    written = [path.resolve() for path in outputs if path is not None]
    for path in written:
        if path in read or written.count(path) > 1:
            raise SpecError(
                f"'{path}' would replace a scenario or another output",
                hint="give every output a name of its own",
            )
        _check_writable(path)


def _check_writable(path: Path) -> None:
    """Refuses what cannot be written, before minutes are spent on what would be written."""
    if path.is_dir():
        raise SpecError(f"'{path}' is a directory", hint=f"name a file in it: {path}/name")
    if not path.parent.is_dir():
        raise SpecError(
            f"there is no directory '{path.parent}'",
            hint=f"mkdir -p {shlex.quote(str(path.parent))}",
        )
    if not os.access(path.parent, os.W_OK):
        raise SpecError(f"'{path.parent}' may not be written to", hint="name another directory")
