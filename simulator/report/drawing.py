"""Drawings outside a report: one SVG file, or a page of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from simulator.report.svg import element, escape


@dataclass(frozen=True, slots=True)
class Section:
    """A drawing with its heading and what to know about it."""

    title: str
    note: str
    svg: str


def standalone_svg(svg: str) -> str:
    """A drawing as a file of its own: with its name space and its colours."""
    style = element("style", _css().replace("&", "&amp;").replace("<", "&lt;"))
    head, close, body = svg.partition(">")
    name_space = head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return f"{name_space}{close}{style}{body}\n"


def drawing_page(title: str, sections: Sequence[Section]) -> str:
    """A self-contained HTML page of drawings."""
    head = (
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_css()}</style>"
    )
    body = "\n".join(
        element(
            "section",
            element("h2", escape(section.title)),
            element("div", section.svg, class_="scroll"),
            element("p", escape(section.note), class_="note"),
        )
        for section in sections
    )
    heading = element("header", element("h1", escape(title)))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{heading}\n{body}\n'
        "</body></html>\n"
    )


def _css() -> str:
    return (files("simulator.report") / "page.css").read_text("utf-8")
