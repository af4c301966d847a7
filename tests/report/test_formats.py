from __future__ import annotations

import json

import pytest

from simulator.report.formats import FORMATS
from simulator.report.report import Report


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_renders_and_is_deterministic(report: Report, name: str):
    rendered = FORMATS[name](report)
    assert rendered.endswith("\n")
    assert rendered == FORMATS[name](report)


def test_formats_are_the_documented_ones(report: Report):
    assert set(FORMATS) == {"text", "json", "html", "trace"}
    assert json.loads(FORMATS["json"](report))["devices"] == 8
    assert json.loads(FORMATS["trace"](report))["traceEvents"]
    assert FORMATS["html"](report).startswith("<!DOCTYPE html>")
    assert "step time" in FORMATS["text"](report)
