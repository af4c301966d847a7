"""Writes a page as one self-contained HTML document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Final

from simulator.published.document import (
    Block,
    Cell,
    Drawing,
    Marked,
    Page,
    Prose,
    Section,
    Strong,
    Table,
)

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 66rem; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2.2rem }
nav { columns: 16rem } nav a { display: block; color: inherit }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; text-align: left }
.r { text-align: right } strong { color: #b03010 }
svg.parity { width: 100%; max-width: 36rem; font-size: 11px; fill: #444 }
.band { fill: #e8eef5 } .diagonal { stroke: #888 } .grid { stroke: #e2e2e2 }
circle.test { fill: #1f5fa8; fill-opacity: .55 }
circle.calibration { fill: #d08020; fill-opacity: .55 }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #16181b } th, td { border-color: #383c42 }
  svg.parity { fill: #bbb } .band { fill: #232a33 } .grid { stroke: #2b2f35 }
  circle.test { fill: #6aa6ea } strong { color: #ff9070 } }
"""
_CODE: Final = re.compile("`([^`]*)`")


def html(page: Page) -> str:
    """The page: no scripts, nothing loaded from elsewhere, light and dark."""
    links = "".join(f'<a href="#{_anchor(s)}">{escape(s.title)}</a>' for s in page.sections)
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(page.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            f"<h1>{escape(page.title)}</h1>",
            _blocks(page.blocks),
            f"<nav>{links}</nav>",
            *(_section(section) for section in page.sections),
            "</body>\n</html>\n",
        )
    )


def _section(section: Section) -> str:
    title = escape(section.title)
    return f'<h2 id="{_anchor(section)}">{title}</h2>\n{_blocks(section.blocks)}'


def _anchor(section: Section) -> str:
    return re.sub(r"\W+", "-", section.title.lower()).strip("-")


def _blocks(blocks: Sequence[Block]) -> str:
    return "\n".join(_block(block) for block in blocks)


def _block(block: Block) -> str:
    match block:
        case Prose(text):
            return "<p>" + _CODE.sub(r"<code>\1</code>", escape(text)) + "</p>"
        case Table():
            return _table(block)
        case Marked(_, blocks):
            return _blocks(blocks)
        case Drawing(svg, caption):
            return f"<p>{escape(caption)}</p>\n{svg}"


def _table(table: Table) -> str:
    body = "\n".join(_row("td", table.align, row) for row in table.rows)
    return (
        f'<div class="wide"><table>\n<thead>{_row("th", table.align, table.columns)}</thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _row(tag: str, align: str, cells: Sequence[Cell]) -> str:
    sides = ("" if side == "l" else ' class="r"' for side in align)
    inside = (
        f"<{tag}{side}>{_cell(cell)}</{tag}>" for side, cell in zip(sides, cells, strict=True)
    )
    return f"<tr>{''.join(inside)}</tr>"


def _cell(cell: Cell) -> str:
    if isinstance(cell, Strong):
        return f"<strong>{escape(cell.text)}</strong>"
    return escape(cell)
