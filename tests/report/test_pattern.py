"""The pattern of steps in a report: as JSON and back, as text, as a page."""

import pytest

from simulator.report.page import render_page
from simulator.report.pattern import pattern_rows
from simulator.report.record import from_json, to_json
from simulator.report.report import Report, StepPattern
from simulator.report.text import to_text
from simulator.simulate import simulate
from simulator.spec.load import load_scenario


@pytest.fixture(scope="module")
def report() -> Report:
    return simulate(load_scenario("transnormer-7b-co2", ["plan.exchange.every=12"]))


def test_json_keeps_it(report: Report) -> None:
    again = from_json(to_json(report))
    assert again.pattern == report.pattern
    assert to_json(again) == to_json(report)


def test_json_of_other_plans_has_no_such_key() -> None:
    plain = simulate(load_scenario("transnormer-7b-co2", ["plan.exchange=null"]))
    assert '"pattern"' not in to_json(plain)
    assert "Pattern of steps" not in to_text(plain)


def test_people_see_it(report: Report) -> None:
    assert "steps 1 to 11" in to_text(report)
    assert "Pattern of steps" in render_page(report)


def _pattern(*steps: tuple[int, float], warm_up_share: float = 0.0) -> StepPattern:
    return StepPattern("local", 2, steps, 1.0, 0.0, 0.0, 1e9, warm_up_share, 3.0)


def _shown(pattern: StepPattern) -> list[tuple[str, str]]:
    return [row[:2] for row in pattern_rows(pattern) if row[0].startswith(("step", "warm"))]


def test_runs_of_equal_steps_are_named_by_place() -> None:
    assert _shown(_pattern((3, 1.0), (1, 2.5))) == [("steps 1 to 3", "1 s"), ("step 4", "2.5 s")]


def test_steps_that_look_alike_are_one_run() -> None:
    assert _shown(_pattern((3, 1.0), (2, 1.0000001))) == [("steps 1 to 5", "1 s")]


def test_of_many_runs_kinds_are_counted() -> None:
    rows = pattern_rows(_pattern(*[(2, 1.0), (1, 2.0)] * 5))
    counted = [row[:2] for row in rows if "of a period" in row[0]]
    assert counted == [("10 steps of a period", "1 s"), ("5 steps of a period", "2 s")]


def test_warm_up_is_said() -> None:
    assert _shown(_pattern((1, 1.0), warm_up_share=0.15))[0] == ("warm-up", "3 s")
