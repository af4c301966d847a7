"""Bars: as long as their values, words behind them, legends that wrap."""

import xml.etree.ElementTree as ET

import pytest

from simulator.report.bars import Bar, Limit, Part, bar_chart, shortened, time_parts
from simulator.report.svg import WIDTH, legend, legend_height, text_width


def bar(label: str, *values: float, **more: float) -> Bar:
    return Bar(label, [Part(value, "total") for value in values], f"{sum(values):g}", **more)


def boxes(svg: str) -> list[ET.Element]:
    return [e for e in ET.fromstring(svg).iter("rect") if e.get("height") == "16"]


def test_bars_are_in_proportion_and_parts_follow_one_another() -> None:
    first, second, single = boxes(bar_chart([bar("a", 1, 3), bar("b", 2)], "x"))
    width = [float(e.get("width") or 0) for e in (first, second, single)]
    assert width[1] == pytest.approx(3 * width[0], abs=0.02)
    assert width[2] == pytest.approx(2 * width[0], abs=0.02)
    assert float(second.get("x") or 0) == pytest.approx(
        float(first.get("x") or 0) + width[0], abs=0.02
    )


def test_the_largest_value_is_inside_also_where_it_is_an_end_or_a_limit() -> None:
    for chart in (
        bar_chart([bar("a", 1, low=0.5, high=9)], "x"),
        bar_chart([bar("a", 1, mark=9)], "x"),
        bar_chart([bar("a", 1)], "x", limit=Limit(9, "most")),
    ):
        (box,) = boxes(chart)
        left, width = float(box.get("x") or 0), float(box.get("width") or 0)
        ends = [float(e.get("x2") or 0) for e in ET.fromstring(chart).iter("line")]
        assert max(ends) == pytest.approx(left + 9 * width, abs=0.1)
        assert max(ends) < WIDTH


def test_the_description_says_every_bar() -> None:
    svg = bar_chart([bar("a < b", 1), bar("c", 2)], "x")
    assert ET.fromstring(svg).findtext("desc") == "a < b: 1; c: 2"


def test_nothing_is_drawn_of_nothing() -> None:
    assert bar_chart([], "x") == bar_chart([bar("a", 0)], "x") == ""


def test_long_labels_are_cut_to_their_column() -> None:
    assert shortened("short", 200) == "short"
    cut = shortened("m" * 100, 200)
    assert cut.endswith("m…")
    assert text_width(cut) <= 200
    words = bar_chart([bar("m" * 200, 1)], "x")
    assert "m…</text>" in words
    assert "m" * 200 in words  # whole where the pointer rests


def test_time_parts_leave_out_what_takes_nothing() -> None:
    parts = time_parts({"compute": 2.0, "bubble": 0.0, "dp_comm": 1.0}, "a", "{:g} s".format)
    assert [(part.css, part.value) for part in parts] == [("time-compute", 2), ("time-dp-comm", 1)]
    assert parts[1].title == "a, exposed data-parallel comm: 1 s"


def test_a_legend_wraps_before_the_edge() -> None:
    """An item takes 33 + 6.72 per letter: of 30 letters 234.6, so 4 in a row of 960 - 8."""
    items = [("total", "w" * 30)] * 9
    assert legend_height(items, 8) == 3 * 18
    words = ET.fromstring(f"<g>{legend(items, 8, 9)}</g>").iter("text")
    ends = [float(e.get("x") or 0) + text_width(e.text or "") for e in words]
    assert max(ends) <= WIDTH
    assert legend_height([], 8) == 0
