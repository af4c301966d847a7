import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from simulator.published.accuracy_page import accuracy_page
from simulator.published.parity_plot import SIZE_PX, parity_plot
from simulator.published.results import RowResult, ValidationResult, validation_result
from simulator.published.validate import validate
from simulator.report.report import Report
from simulator.scenario import Scenario

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

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def result_of(measured: float, predicted: float, role: str = "test") -> RowResult:
    return RowResult(
        *("r<1>", "mine", role, "A", "ok", ("a & b",)),
        measured_step_time_s=measured,
        predicted_step_time_s=predicted,
        error=predicted / measured - 1,
    )


@pytest.fixture
def result(
    tmp_path: Path,
    write: Callable[..., Path],
    full_record: dict[str, str],
    two_seconds: Callable[[Scenario], Report],
) -> ValidationResult:
    path = write(
        tmp_path / "mine.csv",
        full_record | {"step_time_s": "2.5", "memory_gb": "67", "tier": "A"},
        full_record | {"id": "r<2>", "gpu": "<abacus> & co"},
    )
    return validate([path], run=two_seconds)


def test_page_is_well_formed_and_says_what_counts(result: ValidationResult) -> None:
    page = accuracy_page(result)
    checker = TagChecker()
    checker.feed(page)
    assert checker.open == []
    assert "2 published configurations, of which 1 can be run" in checker.text
    assert "20.0 %" in checker.text  # 2 s against 2.5 s
    assert "-20.0 %" in checker.text
    assert "accelerator <abacus> & co is not in the catalogue" in checker.text
    assert "<abacus>" not in page
    assert "http" not in page  # self-contained


def test_page_without_any_comparison() -> None:
    page = accuracy_page(validation_result([RowResult("r", "s", "test", "", "skipped", ("x",))]))
    assert "No row of these tables" in page
    assert "<svg" not in page


def test_plot_places_points_by_decade() -> None:
    """0.1 to 10 s are two decades: 1 s lies in the middle, exact predictions on the diagonal."""
    rows = [result_of(0.1, 0.1), result_of(1.0, 1.0), result_of(10.0, 10.0), result_of(1.0, 2.0)]
    root = ET.fromstring(parity_plot(rows))
    circles = root.findall("circle")
    x = [float(circle.attrib["cx"]) for circle in circles]
    y = [float(circle.attrib["cy"]) for circle in circles]
    assert x[1] == pytest.approx((x[0] + x[2]) / 2, abs=0.1)  # printed to 0.1 px
    assert all(x[i] + y[i] == pytest.approx(SIZE_PX, abs=0.2) for i in range(3))
    assert y[3] < y[1]  # predicted too slow lies above the diagonal
    assert [circle.attrib["class"] for circle in circles] == ["test"] * 4
    assert "r<1>" in "".join(circles[0].itertext())


def test_plot_of_one_time_has_an_extent() -> None:
    root = ET.fromstring(parity_plot([result_of(1.0, 1.0)]))
    assert len(root.findall("circle")) == 1
    assert parity_plot([]) == ""
