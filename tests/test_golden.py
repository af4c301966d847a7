"""Whole reports of shipped scenarios. A refactoring leaves them as they are.

After a change of the model or of a constant: ``pytest tests/test_golden.py --update-goldens``,
and the difference goes into the changelog.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from simulator.report.record import from_json, to_json
from simulator.report.report import Report
from simulator.simulate import simulate
from simulator.spec.load import load_scenario

GOLDEN: Final = Path(__file__).parent / "golden"
NAMES: Final = (
    "gpt2-xl-one-gpu",
    "gpt3-175b-a100-64",
    "llama2-7b-fsdp",
    "llama3-405b-16384",
    "palm-540b",
)
"""One device; interleaved pipeline; hybrid sharding; shared links (discrete events); a torus."""
OTHER_MACHINE: Final = 1e-11
"""Vector units and BLAS of another processor sum in another order. On one machine reports are
equal to the byte: see ``test_laws.py``."""


def without_curves(report: Report) -> Report:
    """The report without the memory curves, which are long."""
    ranks = tuple(
        replace(rank, history_s=(), history_bytes=()) for rank in report.memory.rank_classes
    )
    return replace(report, memory=replace(report.memory, rank_classes=ranks))


def leaves(data: object, path: str = "") -> dict[str, object]:
    """Every value of nested data by its place."""
    if isinstance(data, dict):
        items = [(f"{path}.{key}", value) for key, value in data.items()]
    elif isinstance(data, list):
        items = [(f"{path}[{i}]", value) for i, value in enumerate(data)]
    else:
        return {path: data}
    return {place: leaf for key, value in items for place, leaf in leaves(value, key).items()}


@pytest.mark.parametrize("name", NAMES)
def test_reports_are_as_they_were(name: str, request: pytest.FixtureRequest) -> None:
    file = GOLDEN / f"{name}.json"
    text = to_json(without_curves(simulate(load_scenario(name))))
    if request.config.getoption("--update-goldens"):
        file.write_text(text)
    now, before = leaves(json.loads(text)), leaves(json.loads(file.read_text()))
    assert list(now) == list(before)
    moved = {
        place: (before[place], value)
        for place, value in now.items()
        if value != before[place]
        and not (
            isinstance(value, float) and value == pytest.approx(before[place], rel=OTHER_MACHINE)
        )
    }
    assert not moved, f"(before, now) of {len(moved)} values of {name}"


def test_goldens_are_reports_and_none_is_left_over() -> None:
    assert sorted(file.stem for file in GOLDEN.glob("*.json")) == sorted(NAMES)
    for name in NAMES:
        text = (GOLDEN / f"{name}.json").read_text()
        assert to_json(from_json(text)) == text
