"""One page in both forms: nothing written into a page becomes markup."""

import re
from html.parser import HTMLParser

import pytest

from simulator.published.document import (
    Drawing,
    Marked,
    Page,
    Prose,
    Section,
    Strong,
    table,
)
from simulator.published.document_html import html
from simulator.published.document_markdown import markdown, marker

PAGE = Page(
    "Ships & <shoes>",
    (Prose("Of `wax` <b>"), Marked("wax", (Prose("headline"), table(("a", "b"), [("x", "1")])))),
    (
        Section("First", (table(("name", "n"), [("p | q", Strong("<9>"))], "lr"),)),
        Section("Drawn", (Drawing("<svg></svg>", "a <plot>"),)),
    ),
)
VOID = {"meta", "br"}


class TagChecker(HTMLParser):
    """Checks that every tag is closed in order, and collects the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def test_markdown_whole() -> None:
    assert markdown(PAGE) == (
        "# Ships & &lt;shoes>\n\nOf `wax` &lt;b>\n\n"
        "<!-- wax -->\nheadline\n\n| a | b |\n| --- | --: |\n| x | 1 |\n<!-- /wax -->\n\n"
        "## First\n\n| name | n |\n| --- | --: |\n| p \\| q | **&lt;9>** |\n"
    )


def test_a_mark_is_found_again() -> None:
    inside = markdown(PAGE).partition(marker("wax"))[2].partition(marker("wax", end=True))[0]
    assert inside.startswith("\nheadline")


def test_html_is_well_formed_and_self_contained() -> None:
    page = html(PAGE)
    checker = TagChecker()
    checker.feed(page)
    assert checker.open == []
    for words in ("Ships & <shoes>", "<b>", "headline", "p | q", "<9>", "a <plot>"):
        assert words in checker.text
    assert "<code>wax</code>" in page
    assert "<strong>&lt;9&gt;</strong>" in page
    assert "http" not in page
    assert "<script" not in page


def test_every_heading_of_the_html_can_be_reached() -> None:
    page = html(PAGE)
    assert re.findall('href="#([^"]*)"', page) == re.findall('<h2 id="([^"]*)"', page)


def test_rows_must_fill_the_columns() -> None:
    with pytest.raises(ValueError, match="shorter"):
        html(Page("t", (table(("a", "b"), [("x",)]),), ()))
