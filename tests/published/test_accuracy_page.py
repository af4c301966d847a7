import re
import xml.etree.ElementTree as ET

import pytest

from simulator.published.accuracy_page import HEADLINE, accuracy_page
from simulator.published.accuracy_tables import fits_table, grouped
from simulator.published.document_html import html
from simulator.published.document_markdown import markdown, marker
from simulator.published.parity_plot import SIZE_PX, memory_parity_plot, time_parity_plot
from simulator.published.results import RowResult, ValidationResult, validation_result

TIMES = [("A", "test", 1.0, 1.1), ("A", "test", 1.0, 0.7), ("B", "calibration", 2.0, 3.0)]
"""Tier, role, measured, predicted: errors of +10 %, -30 % and, not in the headline, +50 %."""


@pytest.fixture
def result() -> ValidationResult:
    rows = [
        RowResult(
            *(f"r{index}", "mine", role, tier, "ok", ("a | b",)),
            measured_step_time_s=measured,
            predicted_step_time_s=predicted,
            error=predicted / measured - 1,
            memory_error=0.25,
            fits_measured=True,
            fits_predicted=predicted < 1,
        )
        for index, (tier, role, measured, predicted) in enumerate(TIMES)
    ]
    skipped = RowResult("s", "other", "test", "C", "skipped", ("no <abacus>",))
    return validation_result([*rows, skipped])


def result_of(measured: float, predicted: float, memory_bytes: float | None = None) -> RowResult:
    return RowResult(
        *("r<1>", "mine", "test", "A", "ok", ("a & b",)),
        measured_step_time_s=measured,
        predicted_step_time_s=predicted,
        error=predicted / measured - 1,
        measured_memory_bytes=memory_bytes,
        predicted_memory_bytes=memory_bytes,
    )


def row_of(page: str, name: str) -> list[str]:
    (line,) = re.findall(rf"^\| {name}.*$", page, re.MULTILINE)
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def section(page: str, title: str) -> str:
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_headline_counts_test_rows_only(result: ValidationResult) -> None:
    """Bias (10 - 30) / 2 = -10 %, mean of sizes 20 %, both within 20 %: one of two."""
    page = markdown(accuracy_page(result))
    lines = page.partition(marker(HEADLINE))[2].partition(marker(HEADLINE, end=True))[0]
    assert lines.startswith("\n4 published configurations, 3 of which can be run.")
    name, compared, bias, mean, median, _, worst, within = row_of(lines, "all test rows")
    assert (name, compared, bias, mean) == ("all test rows", "2", "-10.0 %", "20.0 %")
    assert (median, worst, within) == ("20.0 %", "30.0 %", "50.0 %")
    assert row_of(lines, "tier B")[1:3] == ["0", "-"]


def test_page_shows_every_part(result: ValidationResult) -> None:
    page = markdown(accuracy_page(result))
    assert row_of(section(page, "Skipped rows"), "no &lt;abacus>")[1] == "1"
    assert row_of(section(page, "Largest errors"), "mine r1")[1:] == ["-30.0 %", "a \\| b"]
    assert row_of(section(page, "What was assumed"), "mine")[1:] == ["a \\| b", "3"]
    memory = section(page, "Memory")
    assert "predicted right for 1 of 2 rows" in memory  # 0.7 s counts as fitting, 1.1 s does not
    assert row_of(memory, "mine")[1:3] == ["2", "+25.0 %"]
    fitted = section(page, "Rows that constants were fitted on")
    assert row_of(fitted, "mine")[2] == "+50.0 %"


def test_both_forms_hold_the_same_tables(result: ValidationResult) -> None:
    page = accuracy_page(result)
    titles = re.findall("^## (.*)$", markdown(page), re.MULTILINE)
    shown = re.findall('<h2 id="[^"]*">(.*)</h2>', html(page))
    assert [title for title in shown if title != "Every run"] == titles  # only drawings
    assert "a | b" in html(page)


def test_missed_bars_are_shown_as_missed(result: ValidationResult) -> None:
    """A mean memory error of 25 %; no row has a range, so that the bars of ranges are left out."""
    targets = section(markdown(accuracy_page(result)), "Targets")
    assert row_of(targets, "peak memory")[1:] == ["2", "at most 5.0 %", "25.00 %", "**no**"]
    assert "measured within the 90 % range" not in targets
    judged = [line.split("|")[-2].strip() for line in targets.splitlines() if "%" in line]
    held = f"{judged.count('yes')} of {judged.count('yes') + judged.count('**no**')} bars hold"
    assert held in targets


def test_page_without_rows() -> None:
    page = markdown(accuracy_page(validation_result([])))
    assert row_of(page.partition("## By source")[0], "all test rows")[1] == "0"
    assert "<svg" not in html(accuracy_page(validation_result([])))


def test_of_rows_out_of_memory_those_predicted_not_to_fit_are_right() -> None:
    """Of three that ran two are predicted to; the one that did not run is predicted not to."""
    known = [(True, True), (True, True), (True, False), (False, False)]
    rows = [
        RowResult(
            *(str(index), "mine", "test", "A", "ok", ()),
            fits_measured=measured,
            fits_predicted=predicted,
        )
        for index, (measured, predicted) in enumerate(known)
    ]
    ran, failed = fits_table(validation_result(rows)).rows
    assert ran == ("ran", "3", "2", "1", "66.7 %")
    assert failed == ("ran out of memory", "1", "0", "1", "100.0 %")


def test_texts_that_differ_in_numbers_only_are_counted_together() -> None:
    counts = {"batch 256 by 96": 2, "batch 512 by 48": 3, "no P100": 4, "no H100": 1, "cp 2": 9}
    assert grouped(counts) == [("cp 2", 9), ("batch N by N", 5), ("no P100", 4), ("no H100", 1)]


def test_plot_places_points_by_decade() -> None:
    """0.1 to 10 s are two decades: 1 s lies in the middle, exact predictions on the diagonal."""
    rows = [result_of(0.1, 0.1), result_of(1.0, 1.0), result_of(10.0, 10.0), result_of(1.0, 2.0)]
    root = ET.fromstring(time_parity_plot(rows))
    circles = root.findall("circle")
    x = [float(circle.attrib["cx"]) for circle in circles]
    y = [float(circle.attrib["cy"]) for circle in circles]
    assert x[1] == pytest.approx((x[0] + x[2]) / 2, abs=0.1)  # printed to 0.1 px
    assert all(x[i] + y[i] == pytest.approx(SIZE_PX, abs=0.2) for i in range(3))
    assert y[3] < y[1]  # predicted too slow lies above the diagonal
    assert [circle.attrib["class"] for circle in circles] == ["test"] * 4
    assert "r<1>" in "".join(circles[0].itertext())


def test_plot_of_one_time_has_an_extent() -> None:
    root = ET.fromstring(time_parity_plot([result_of(1.0, 1.0)]))
    assert len(root.findall("circle")) == 1
    assert time_parity_plot([]) == ""


def test_memory_plot_holds_rows_with_a_measured_memory() -> None:
    root = ET.fromstring(memory_parity_plot([result_of(1.0, 1.0), result_of(1.0, 1.0, 40e9)]))
    (circle,) = root.findall("circle")
    assert "measured 40 GB" in "".join(circle.itertext())
