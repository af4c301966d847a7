from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.report.svg import coordinate, element, figure, legend, rect, text, ticks


def test_element_escapes_attributes_and_spells_their_names():
    assert element("g", "x", class_="a", stroke_width=1.5, aria_label='"<&') == (
        '<g class="a" stroke-width="1.5" aria-label="&quot;&lt;&amp;">x</g>'
    )


def test_text_and_tips_are_escaped():
    assert "&lt;b&gt;" in text(0, 0, "<b>")
    assert "<title>a &amp; b</title>" in rect(0, 0, 1, 1, "x", title="a & b")
    assert "<title>&lt;</title>" in figure(10, "<")


def test_a_rectangle_is_never_of_negative_width():
    assert 'width="0"' in rect(0, 0, -1e-9, 1, "x")


@pytest.mark.parametrize(
    ("value", "written"), [(0.0, "0"), (12.5, "12.5"), (7.0, "7"), (1 / 3, "0.33"), (100.0, "100")]
)
def test_coordinates_are_short(value: float, written: str):
    assert coordinate(value) == written


@pytest.mark.parametrize(
    ("maximum", "expected"),
    [
        (10.0, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]),
        (0.0, [0.0]),
        (-1.0, [0.0]),
        (float("inf"), [0.0]),
    ],
)
def test_ticks_by_hand(maximum: float, expected: list[float]):
    assert ticks(maximum) == expected


@settings(deadline=None)
@given(st.floats(1e-9, 1e15))
def test_ticks_are_few_and_reach_almost_to_the_end(maximum: float):
    found = ticks(maximum)
    assert 3 <= len(found) <= 7
    # A tick may lie beyond the end by rounding only.
    assert found[-1] <= maximum * (1 + 1e-8)
    assert found[-1] >= 0.6 * maximum


def test_legend_entries_do_not_overlap():
    drawn = legend([("a", "forward"), ("b", "backward")], 0, 0)
    assert 'class="a"' in drawn
    assert drawn.index("forward") < drawn.index("backward")
