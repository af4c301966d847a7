"""A small source of which everything can be worked by hand."""

import math
from collections.abc import Mapping

import pytest

from simulator.published.document import Strong
from simulator.published.document_html import html
from simulator.published.document_markdown import markdown
from simulator.published.facts import Facts, Level, Work
from simulator.published.findings import findings
from simulator.published.residual_page import factor_table, residual_page
from simulator.published.residuals import Study, studies, variance_explained
from simulator.published.results import RowResult, validation_result
from simulator.published.validate import published_paths

WORK = Work((1,), "a100", 8, 8, 1024)


def row(error: float, factors: Mapping[str, Level], role: str = "test") -> RowResult:
    return RowResult(
        *("r", "mine", role, "A", "ok", ()),
        measured_step_time_s=1.0,
        predicted_step_time_s=1.0 + error,
        error=error,
        facts=Facts(WORK, factors, "r"),
    )


def tp_rows() -> list[RowResult]:
    """Errors of 0, 0, 0 with tp 1 and of 20, 20, 20 % with tp 8; median 10 %, mean 10 %."""
    slow = [row(0.2, {"tp": 8, "nodes": "two", "pp": 1, "recompute": "full"}) for _ in range(3)]
    even = [row(0.0, {"tp": 1, "nodes": "one", "pp": 1, "recompute": "full"}) for _ in range(3)]
    return [*slow, *even]


def study_of(rows: list[RowResult]) -> Study:
    (study,) = studies(rows)
    return study


def test_a_factor_that_explains_everything() -> None:
    study = study_of(tp_rows())
    assert (study.count, study.source) == (6, "mine")
    assert (study.bias, study.median, study.mape) == pytest.approx((0.1, 0.1, 0.1))
    (factor,) = study.factors  # pp and recompute do not vary
    assert factor.name == "tp = nodes"
    assert (factor.explained, factor.adjusted) == pytest.approx((1.0, 1.0))
    assert [(g.level, g.count, g.median) for g in factor.groups] == [
        ("1", 3, 0.0),
        ("8", 3, pytest.approx(0.2)),
    ]
    assert all(group.stands_out for group in factor.groups)  # 10 points from the median of 10 %


def test_variance_explained_by_hand() -> None:
    """Groups 1, 3 and 5, 7: mean 4, total 9+1+1+9 = 20, between 2*(2-4)^2 + 2*(6-4)^2 = 16."""
    assert variance_explained([[1, 3], [5, 7]]) == pytest.approx(0.8)
    assert variance_explained([[1, 1], [1]]) == 0


def test_adjusted_corrects_for_groups() -> None:
    """Logs 1, 3, 5, 7 in two groups: 1 - (1 - 0.8) * 3 / 2 = 0.7."""
    rows = [row(math.expm1(log), {"tp": tp}) for log, tp in [(1, 1), (3, 1), (5, 2), (7, 2)]]
    (factor,) = study_of(rows).factors
    assert factor.explained == pytest.approx(0.8)
    assert factor.adjusted == pytest.approx(0.7)


def test_two_rows_do_not_stand_out() -> None:
    rows = [row(0.0, {"tp": 1}) for _ in range(4)] + [row(0.5, {"tp": 2}) for _ in range(2)]
    (factor,) = study_of(rows).factors
    assert [group.stands_out for group in factor.groups] == [False, False]


def test_what_explains_most_comes_first() -> None:
    rows = [row(0.1 * (tp == 2), {"pp": pp, "tp": tp}) for pp in (1, 2) for tp in (1, 2, 3)]
    assert [factor.name for factor in study_of(rows).factors] == ["tp", "pp"]


def test_many_numbers_are_grouped_by_powers_of_two() -> None:
    """3, 5, ... 19: nine values in [2, 4), [4, 8), [8, 16) and [16, 32)."""
    (factor,) = study_of([row(0.1, {"size": size}) for size in range(3, 20, 2)]).factors
    assert factor.name == "size, from"
    assert [(g.level, g.count) for g in factor.groups] == [("2", 1), ("4", 2), ("8", 4), ("16", 2)]


def test_calibration_rows_and_small_sources_are_left_out() -> None:
    calibration = [row(0.1, {"tp": 1}, role="calibration") for _ in range(5)]
    assert studies(calibration) == ()
    assert studies(tp_rows()[:2]) == ()


def test_page_shows_groups_findings_and_small_sources() -> None:
    known = {"mine": "Nodes are `slow`.", "small": "Too few."}
    small = RowResult("s", "small", "test", "A", "ok", (), 1.0, 1.1, error=0.1)
    page = residual_page(validation_result([*tp_rows(), small]), known)
    text = markdown(page)
    assert "\n## mine\n\n6 rows, bias +10.0 %" in text
    assert "Nodes are `slow`." in text
    assert "| tp = nodes | 100.0 % | 100.0 % | 1 | 3 | **+0.0 %** | 0.0 % |" in text
    assert "| mine | tp = nodes: 8 | 3 | +20.0 % | +10.0 % |" in text
    assert "| small | 1 | +10.0 % | Too few. |" in text
    assert "<code>slow</code>" in html(page)


def test_a_group_that_stands_out_is_strong() -> None:
    cells = [line[5] for line in factor_table(study_of(tp_rows())).rows]
    assert cells == [Strong("+0.0 %"), Strong("+20.0 %")]


def test_findings_are_of_shipped_sources() -> None:
    known = findings()
    assert set(known) <= {path.stem for path in published_paths()}
    assert all(known.values())
