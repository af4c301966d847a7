"""Histograms: every value counted once, lines where their values are."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from simulator.report.histogram import Line, histogram

VALUES = np.array([1.0, 1.1, 1.1, 1.9, 2.0])


def drawing(*lines: Line) -> ET.Element:
    return ET.fromstring(histogram(VALUES, lines, "time", "{:g}".format))


def test_heights_are_in_proportion_and_count_everything() -> None:
    """Five values give five classes of width 0.2: 3, 0, 0, 0 and 2 of them."""
    boxes = [e for e in drawing().iter("rect") if e.get("class") == "total"]
    titles = [(e.findtext("title") or "").rpartition(" ")[2] for e in boxes]
    assert titles == ["3", "0", "0", "0", "2"]
    heights = [float(e.get("height") or 0) for e in boxes]
    assert heights[4] == pytest.approx(heights[0] * 2 / 3, abs=0.01)


def test_a_line_outside_of_the_values_widens_the_axis() -> None:
    at = [
        float(e.get("x1") or 0)
        for e in drawing(Line(3.0, "max", "range"), Line(1.5, "half", "range")).iter("line")
        if e.get("class") == "range"
    ]
    # From 60 to 930 for 1 to 3.
    assert at == pytest.approx([930.0, 60 + 870 / 4], abs=0.01)


def test_equal_values_and_near_lines_are_drawn() -> None:
    same = np.full(3, 2.0)
    lines = [Line(2.0, words) for words in ("without noise", "5 %", "50 %", "95 %")]
    root = ET.fromstring(histogram(same, lines, "time", "{:g}".format))
    labels = [e for e in root.iter("text") if e.get("class") == "halo"]
    assert len({e.get("y") for e in labels}) == 4  # one below the other
    assert all(float(e.get("y") or 0) > 0 for e in labels)
