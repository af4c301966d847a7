"""Writes a page as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from simulator.published.document import Block, Cell, Drawing, Marked, Page, Prose, Strong, Table

_WIDTH: Final = 100


def markdown(page: Page) -> str:
    """The page; sections that hold nothing but drawings are left out."""
    parts = [f"# {_escaped(page.title)}", *_blocks(page.blocks)]
    for section in page.sections:
        inside = _blocks(section.blocks)
        if inside:
            parts += [f"## {_escaped(section.title)}", *inside]
    return "\n\n".join(parts) + "\n"


def marker(name: str, *, end: bool = False) -> str:
    """The comment before, or after, blocks that other pages repeat."""
    return f"<!-- {'/' if end else ''}{name} -->"


def _blocks(blocks: Sequence[Block]) -> list[str]:
    return [text for text in map(markdown_block, blocks) if text]


def markdown_block(block: Block) -> str:
    """A block alone; empty for a drawing."""
    match block:
        case Prose(text):
            return textwrap.fill(
                _escaped(text), _WIDTH, break_long_words=False, break_on_hyphens=False
            )
        case Table():
            return _table(block)
        case Marked(name, blocks):
            inside = "\n\n".join(_blocks(blocks))
            return f"{marker(name)}\n{inside}\n{marker(name, end=True)}"
        case Drawing():
            return ""


def _table(table: Table) -> str:
    rule = ["---" if side == "l" else "--:" for side in table.align]
    rows = [table.columns, rule, *([_cell(cell) for cell in row] for row in table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(cell: Cell) -> str:
    if isinstance(cell, Strong):
        return f"**{_cell(cell.text)}**"
    return _escaped(cell).replace("|", "\\|")


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;")
