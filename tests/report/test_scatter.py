"""Points in a plane."""

import xml.etree.ElementTree as ET
from itertools import pairwise

from simulator.report.scatter import Axis, Mark, scatter

X = Axis("devices", "{:g}".format)


def points(svg: str) -> list[tuple[float, float]]:
    return [
        (float(c.get("cx", 0)), float(c.get("cy", 0))) for c in ET.fromstring(svg).iter("circle")
    ]


def test_distances_from_the_corner_are_in_proportion() -> None:
    """Twice the value is twice as far from the left end (90) and the bottom (330)."""
    drawn = points(scatter([Mark(1, 10, "a", "total"), Mark(2, 20, "b", "total")], X, X))
    (x1, y1), (x2, y2) = drawn
    assert abs((x2 - 90) - 2 * (x1 - 90)) < 0.02
    assert abs((330 - y2) - 2 * (330 - y1)) < 0.02


def test_limits_and_ranges_are_inside() -> None:
    limited = Axis("days", "{:g}".format, 100.0)
    svg = scatter([Mark(1, 10, "a < b", "loss", 5, 200)], X, limited)
    root = ET.fromstring(svg)
    ends = [float(e.get(k, 0)) for e in root.iter("line") for k in ("y1", "y2")]
    assert all(30 <= y <= 334 for y in ends)
    assert sum(e.get("class") == "limit" for e in root.iter("line")) == 1
    assert "a &lt; b" in svg


def test_factors_are_as_far_from_one_another() -> None:
    """Doubling devices moves as far each time."""
    doubled = Axis("devices", "{:g}".format, by_factor=True)
    marks = [Mark(8 * 2**i, 1, f"{i}", "total") for i in range(4)]
    xs = [x for x, _ in points(scatter(marks, doubled, X))]
    gaps = [b - a for a, b in pairwise(xs)]
    assert max(gaps) - min(gaps) < 0.02
    assert len(points(scatter(marks[:1], doubled, X))) == 1


def test_an_axis_may_begin_near_its_values() -> None:
    """100 and 101 with 8 % of room: a hundredth apart is most of the height."""
    zoomed = Axis("time", "{:g}".format, from_zero=False)
    (_, low), (_, high) = points(scatter([Mark(1, 100, "", ""), Mark(1, 101, "", "")], X, zoomed))
    assert low - high > 250
    assert points(scatter([Mark(0, 0, "", "")], X, X)) == [(90, 330)]


def test_labels_keep_clear_of_points_lines_and_one_another() -> None:
    """Of many points in one place some labels are left out, and said in their titles."""
    limited = Axis("days", "{:g}".format, 5.0)
    marks = [Mark(5 + i / 1000, 5, f"point {i}", "total", 4, 6) for i in range(20)]
    root = ET.fromstring(scatter(marks, limited, X))
    labels = [e for e in root.iter("text") if e.get("class") == "halo"]
    assert 1 <= len(labels) < 20
    assert len({(e.get("y"), e.get("text-anchor")) for e in labels}) == len(labels)
    assert sum("point 19:" in (e.text or "") for e in root.iter("title")) == 1
    assert (root.findtext("desc") or "").startswith("point 0: 5 at 5; point 1: ")


def test_factors_upward_are_as_far_from_one_another_and_the_limit_is_inside() -> None:
    """Days 1, 10, 100 with a limit of 500, on both axes."""
    days = Axis("days", "{:g}".format, 500.0, by_factor=True)
    marks = [Mark(10.0**k, 10.0**k, f"{k}", "total") for k in range(3)]
    svg = scatter(marks, days, days)
    (x0, y0), (x1, y1), (x2, y2) = points(svg)
    assert abs((y0 - y1) - (y1 - y2)) < 0.02
    assert abs((x1 - x0) - (x2 - x1)) < 0.02
    limits = [e for e in ET.fromstring(svg).iter("line") if e.get("class") == "limit"]
    assert all(30 <= float(e.get("y1", 0)) <= 334 for e in limits)
    assert float(limits[0].get("x1", 0)) > x2
    assert all(f">{tick}</text>" in svg for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500))
