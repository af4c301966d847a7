"""Drawings outside a report: one SVG file, or a page of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.report.frame import css, document, header, paragraph, scrolled, section
from simulator.report.svg import element


@dataclass(frozen=True, slots=True)
class Section:
    """A drawing with its heading, what to know about it, and its numbers.

    Attributes:
        note: plain words; a line each.
        svg: the drawing; empty where there is nothing to draw.
        table: markup, of ``frame.plain_table``.
    """

    title: str
    note: str
    svg: str
    table: str = ""


def standalone_svg(svg: str) -> str:
    """A drawing as a file of its own: with its name space and its colours."""
    style = element("style", css().replace("&", "&amp;").replace("<", "&lt;"))
    head, close, body = svg.partition(">")
    name_space = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return f"{name_space}{close}{style}{body}\n"


def drawing_page(title: str, sections: Sequence[Section], *, note: str = "") -> str:
    """A self-contained HTML page of drawings."""
    body = (
        section(
            one.title,
            scrolled(one.svg),
            *(paragraph(words) for words in one.note.splitlines()),
            one.table,
        )
        for one in sections
    )
    return document(title, header(title, note), *body)
