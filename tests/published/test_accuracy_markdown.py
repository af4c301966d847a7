import re
from pathlib import Path

import pytest

from simulator.errors import SpecError
from simulator.published.accuracy_markdown import BEGIN, END, accuracy_markdown, headline
from simulator.published.pages import PAGES, page_renderer
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


def row_of(page: str, name: str) -> list[str]:
    (line,) = re.findall(rf"^\| {name}.*$", page, re.MULTILINE)
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_headline_counts_test_rows_only(result: ValidationResult) -> None:
    """Bias (10 - 30) / 2 = -10 %, mean of sizes 20 %, both within 20 %: one of two."""
    lines = headline(result)
    assert lines.startswith("4 published configurations, 3 of which can be run.")
    name, compared, bias, mean, median, _, worst, within = row_of(lines, "all test rows")
    assert (name, compared, bias, mean) == ("all test rows", "2", "-10.0 %", "20.0 %")
    assert (median, worst, within) == ("20.0 %", "30.0 %", "50.0 %")
    assert row_of(lines, "tier B")[1:3] == ["0", "-"]


def test_page_shows_every_part(result: ValidationResult) -> None:
    page = accuracy_markdown(result)
    assert page.partition(BEGIN)[2].partition(END)[0].strip() == headline(result)
    assert row_of(page, "no &lt;abacus>") == ["no &lt;abacus>", "1"]
    assert row_of(page, "mine r1")[1:] == ["-30.0 %", "a \\| b"]
    assert "predicted right for 1 of 2 rows" in page  # 0.7 s counts as fitting, 1.1 s does not
    fitted = page.partition("## Rows that constants were fitted on")[2].partition("## Memory")[0]
    assert row_of(fitted, "mine")[2] == "+50.0 %"


def test_page_without_rows() -> None:
    page = accuracy_markdown(validation_result([]))
    assert row_of(page.partition("## By source")[0], "all test rows")[1] == "0"


@pytest.mark.parametrize("suffix", PAGES)
def test_the_suffix_chooses_the_form(suffix: str, result: ValidationResult) -> None:
    assert "mine" in page_renderer(Path(f"page{suffix}"))(result)


def test_another_suffix_is_refused() -> None:
    with pytest.raises(SpecError, match=r"'page\.pdf' has the suffix '\.pdf'"):
        page_renderer(Path("page.pdf"))
