"""Points in a plane."""

import xml.etree.ElementTree as ET

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
