"""The frame of every HTML page: no scripts, nothing loaded from elsewhere, light and dark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from simulator.report.svg import element, escape

_NUMBER: Final = re.compile(r"[+-]?\$?\d[\d,.]*(e[+-]\d+)?[kM%]?(/h)?( |$)")


def document(title: str, *body: str) -> str:
    """A whole page; ``body`` is markup."""
    head = (
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css()}</style>"
    )
    shown = "\n".join(body)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{shown}\n</body></html>\n'
    )


def header(title: str, note: str = "") -> str:
    """The heading of a page, and a line below it."""
    return element("header", element("h1", escape(title)), paragraph(note))


def section(title: str, *content: str) -> str:
    """A part of a page; without content there is none."""
    return element("section", element("h2", escape(title)), *content) if any(content) else ""


def paragraph(words: str) -> str:
    """A note; without words there is none."""
    return element("p", escape(words), class_="note") if words else ""


def scrolled(content: str) -> str:
    """Something wide, which scrolls on a narrow screen."""
    return element("div", content, class_="scroll") if content else ""


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, num_texts: int = 1) -> str:
    """A table of markup.

    Args:
        headers: plain words.
        rows: cells as markup.
        num_texts: so many first columns hold words, the others numbers.
    """
    return _table(headers, rows, [index >= num_texts for index in range(len(headers))])


def plain_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain words; without rows there is none.

    A column whose cells all begin with a number, such as ``-3``, ``$1.2M`` or ``5.6 s``, holds
    numbers.
    """
    if not rows:
        return ""
    numbers = [all(map(_looks_like_number, column)) for column in zip(*rows, strict=True)]
    return _table(headers, [[escape(cell) for cell in row] for row in rows], numbers)


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool]) -> str:
    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            element(tag, cell, class_="number" if is_number else "")
            for cell, is_number in zip(row, numbers, strict=True)
        )

    body = "".join(element("tr", cells("td", row)) for row in rows)
    head = element("thead", element("tr", cells("th", [escape(h) for h in headers])))
    return scrolled(element("table", head, element("tbody", body)))


def _looks_like_number(cell: str) -> bool:
    return cell in ("", "-") or _NUMBER.match(cell) is not None


def css() -> str:
    """The colours and sizes of pages and drawings."""
    return (files("simulator.report") / "page.css").read_text("utf-8")
