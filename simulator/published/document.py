"""A page as data: sections of prose, tables and drawings, which any form of page can render."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Strong:
    """A cell that must be seen."""

    text: str


Cell = str | Strong


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph; words between backticks are code."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        align: ``l`` or ``r`` per column.
        columns: what stands above each.
        rows: as many cells as there are columns.
    """

    align: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """An SVG element and what it shows; forms without drawings leave both out."""

    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Marked:
    """Blocks that other pages repeat, between comments that tell where they are."""

    name: str
    blocks: tuple[Block, ...]


Block = Prose | Table | Drawing | Marked


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what stands under it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page: title, what stands above the first heading, sections."""

    title: str
    blocks: tuple[Block, ...]
    sections: tuple[Section, ...]


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], align: str = "") -> Table:
    """A table; where no alignment is given, the first column holds words, the others numbers."""
    sides = align or "l" + "r" * (len(columns) - 1)
    return Table(sides, tuple(columns), tuple(tuple(row) for row in rows))


def count(value: int) -> str:
    """A number of things."""
    return f"{value:,}"
