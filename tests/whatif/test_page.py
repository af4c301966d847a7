"""Pages and their drawings: whole, self-contained, escaped, and drawn where the numbers are."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from simulator.whatif.axes import Axis
from simulator.whatif.charts import comparison_chart, efficiency_chart, loss_chart, tornado_chart
from simulator.whatif.comparing import Comparison, compare
from simulator.whatif.page import comparison_page, scaling_page, sensitivity_page
from simulator.whatif.scaling import Curve, scale
from simulator.whatif.sensitivity import Sensitivity, sensitivity
from tests.whatif.made import small

CURVES = scale(small("training.micro_batch_size=1"), [4, 7, 8, 16, 64], ["weak", "strong"])
FOUND = sensitivity(small("plan.sharding=zero3"), [Axis("training.micro_batch_size", (2, 3))])

COMPARED = compare({"<b>&co": small(), "b": small("plan.dp=1")}, [Axis("plan.tp", (1, 3))])


@pytest.mark.parametrize(
    "page",
    [scaling_page("<b>&co", CURVES), sensitivity_page("<b>&co", FOUND), comparison_page(COMPARED)],
    ids=["scale", "sensitivity", "compare"],
)
def test_a_page_is_whole_and_loads_nothing(page: str) -> None:
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</body></html>\n")
    assert "&lt;b&gt;&amp;co" in page
    assert "<b>" not in page
    assert re.findall(r"<script|https?://|<link|@import", page) == []


def test_drawings_are_xml_and_coloured_by_the_page() -> None:
    page = scaling_page("small", CURVES) + sensitivity_page("small", FOUND)
    drawings = [
        comparison_chart(COMPARED),
        efficiency_chart(CURVES),
        *map(loss_chart, CURVES),
        tornado_chart(FOUND),
    ]
    for svg in drawings:
        root = ElementTree.fromstring(svg)
        used = {c for e in root.iter() for c in (e.get("class") or "").split()}
        assert [css for css in used if f".{css}" not in page] == []


def test_dots_lie_lower_where_efficiency_is_lower() -> None:
    svg = ElementTree.fromstring(efficiency_chart(CURVES[1:]))
    dots = [float(e.get("cy") or 0) for e in svg.iter("circle")]
    efficiencies = [point.efficiency for point in CURVES[1].points]
    assert len(dots) == len(efficiencies) == 3
    assert efficiencies == sorted(efficiencies, reverse=True)
    assert dots == sorted(dots)


def test_a_bar_is_as_long_as_the_first_points_device_time() -> None:
    """Efficiency and losses of a point sum to 1 where nothing is gained."""
    svg = ElementTree.fromstring(loss_chart(CURVES[1]))
    widths: dict[float, float] = {}
    for box in svg.iter("rect"):
        y = float(box.get("y") or 0)
        if float(box.get("height") or 0) == 16:
            widths[y] = widths.get(y, 0.0) + float(box.get("width") or 0)
    assert len(widths) == 3
    # Rounded to hundredths; a gain of a thousandth is not drawn.
    assert max(widths.values()) == pytest.approx(min(widths.values()), rel=0.005)


def test_bars_of_a_comparison_are_as_long_as_a_token_is_dear() -> None:
    svg = ElementTree.fromstring(comparison_chart(COMPARED))
    widths: dict[str, float] = {}
    for box in svg.iter("rect"):
        if float(box.get("height") or 0) == 16:
            y = box.get("y") or ""
            widths[y] = widths.get(y, 0.0) + float(box.get("width") or 0)
    dear = [1 / candidate.report.tokens_per_s_per_device for candidate in COMPARED.candidates]
    first, then = widths.values()
    assert first / then == pytest.approx(dear[0] / dear[1], rel=1e-3)


def test_slower_is_left_of_the_base_and_faster_right() -> None:
    svg = ElementTree.fromstring(tornado_chart(FOUND))
    (axis,) = svg.iter("line")
    centre = float(axis.get("x1") or 0)
    for box in svg.iter("rect"):
        left, width = float(box.get("x") or 0), float(box.get("width") or 0)
        edge = left + width if box.get("class") == "loss" else left
        assert edge == pytest.approx(centre, abs=0.02)  # coordinates have two decimals


def test_nothing_to_draw_draws_nothing() -> None:
    empty = Curve("weak", (), (), 0.5)
    assert efficiency_chart([empty]) == loss_chart(empty) == ""
    assert comparison_chart(Comparison("", (), ())) == ""
    assert tornado_chart(Sensitivity(FOUND.base, (), ())) == ""
    assert "</html>" in scaling_page("none", [empty])


def test_one_point_is_drawn() -> None:
    one = replace(CURVES[0], points=CURVES[0].points[:1])
    assert "<circle" in efficiency_chart([one])


def test_what_cannot_be_run_is_on_the_page() -> None:
    assert "7 devices are not" not in scaling_page("small", CURVES)  # tp * cp * pp = 1
    assert "is not divisible by dp * micro_batch_size" in scaling_page("small", CURVES)
    assert "cannot be run" in sensitivity_page("small", FOUND)


def test_the_same_work_is_compared_in_seconds_as_on_the_console() -> None:
    same = compare({"small": small("training.micro_batch_size=1")}, [Axis("plan.tp", (1, 2))])
    other = compare({"a": small(), "b": small("training.global_batch_size=64")})
    for found, unit in ((same, "Seconds a step"), (other, "Device-seconds per million tokens")):
        words = {"Seconds a step", "Device-seconds per million tokens"}
        page = comparison_page(found)
        assert {one for one in words if one in page} == {unit}
    assert same.same_work
    taken = f"{sum(same.candidates[0].report.time.values()):,.4g} s"
    assert taken in comparison_chart(same)
