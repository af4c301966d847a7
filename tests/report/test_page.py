from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from simulator.machine import Assumption
from simulator.report.page import render_page
from simulator.report.record import from_json, to_json
from simulator.report.report import Report

VOID = {"meta"}


class WellFormed(HTMLParser):
    """Fails on a tag that closes another than the one opened last; collects tags and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def parsed(page: str) -> WellFormed:
    parser = WellFormed()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_pages_are_well_formed(report: Report, oom_report: Report):
    for given_report in (report, oom_report):
        headings = [tag for tag, _ in parsed(render_page(given_report)).tags if tag == "h2"]
        assert len(headings) == 9


def test_nothing_is_loaded_and_nothing_runs(report: Report):
    page = parsed(render_page(report))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "a"}
    assert not [a for _, attributes in page.tags for a in attributes if a in ("src", "href")]
    assert not re.search(r"https?://|@import|url\(", render_page(report))


def test_everything_from_the_scenario_is_escaped(report: Report):
    evil = "<script>alert('x')</script>"
    changed = replace(
        report,
        scenario={"name": evil, evil: [evil]},
        flops_convention=evil,
        assumptions=(Assumption(evil, evil, evil),),
        provenance={evil: evil},
        flops={evil: report.flops["palm"]},
        time={evil: report.step_time_s},
        kernels=(replace(report.kernels[0], name=evil),),
        memory=replace(
            report.memory,
            worst_rank_class=evil,
            rank_classes=(
                replace(report.memory.rank_classes[0], rank_class=evil, terms={evil: 1e9}),
            ),
        ),
    )
    page = parsed(render_page(changed))
    assert "script" not in {tag for tag, _ in page.tags}
    assert any(evil in words for words in page.words)


def test_headline_and_tables_show_the_numbers(report: Report):
    words = " ".join(parsed(render_page(report)).words)
    for expected in (
        "10 ms",
        "819,200",
        "40.0 %",
        "50.0 %",
        "53.5 GB",
        "fits",
        "counted as 'palm'",
    ):
        assert expected in words
    assert "num_layers: 4" in words
    assert "3 values that were taken" in words
    assert "version 0.1.0" in words


def test_out_of_memory_is_an_alarm_with_levers(oom_report: Report):
    page = parsed(render_page(oom_report))
    assert "alarm" in [attributes.get("class") for _, attributes in page.tags]
    words = " ".join(page.words)
    assert "13.5 GB too much" in words
    assert "plan.sharding zero1" in words


def test_a_report_from_json_has_every_part_but_the_timeline(report: Report):
    page = render_page(from_json(to_json(report)))
    assert "holds no timeline" in page
    assert render_page(report).count("<svg") == page.count("<svg") + 1 == 5


def test_a_bare_report_is_a_page(report: Report):
    memory = replace(report.memory, rank_classes=())
    bare = replace(report, memory=memory, kernels=(), assumptions=(), flops={}, time={})
    assert "10 ms" in " ".join(parsed(render_page(bare)).words)


def test_drawings_and_their_marks_are_named(report: Report):
    page = parsed(render_page(report))
    drawings = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert all(d["role"] == "img" and d["aria-label"] for d in drawings)
    # html.parser lower-cases attribute names; browsers restore viewBox.
    assert all(d["viewbox"] for d in drawings)


def test_every_class_of_a_mark_has_a_style(report: Report):
    text = render_page(report)
    style = text.split("<style>")[1].split("</style>")[0]
    page = parsed(text)
    used = {c for _, a in page.tags for c in (a.get("class") or "").split()}
    # ``on-...`` marks text upon a colour: only those upon light colours differ from ``on``.
    assert used
    assert {c for c in used if f".{c}" not in style and not c.startswith("on-")} == set()


@pytest.mark.parametrize("num_classes", [24, 25])
def test_many_rank_classes_are_cut_to_the_highest(report: Report, num_classes: int):
    rank = report.memory.rank_classes[0]
    classes = tuple(
        replace(rank, rank_class=f"class {i}", peak_bytes=1e9 * (i + 1)) for i in range(num_classes)
    )
    page = render_page(replace(report, memory=replace(report.memory, rank_classes=classes)))
    assert ("24 classes with the highest peaks" in page) == (num_classes > 24)
    assert (">class 0<" in page) == (num_classes <= 24)
