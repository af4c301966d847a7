"""Drawings as files of their own."""

import xml.etree.ElementTree as ET

from simulator.planning.grid import unit_grid
from simulator.report.drawing import Section, drawing_page, standalone_svg
from simulator.report.gantt import gantt


def test_an_svg_file_stands_alone() -> None:
    root = ET.fromstring(standalone_svg(gantt(unit_grid("zb-h1", 4, 8, 1).timeline)))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert ".op-forward" in (root.find("{*}style").text or "")
    assert len(root.findall(".//{*}rect")) > 4 * 24


def test_a_page_shows_every_drawing_and_escapes_its_words() -> None:
    page = drawing_page("a < b", [Section("one", "x & y", "<svg></svg>")] * 2)
    assert page.count("<svg>") == 2
    assert "a &lt; b" in page
    assert "x &amp; y" in page
    assert "http" not in page
