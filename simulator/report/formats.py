"""The renderers by name: add a format here and every command that writes reports knows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from simulator.report.page import render_page
from simulator.report.record import to_json
from simulator.report.report import Report
from simulator.report.text import to_text
from simulator.report.trace import to_trace


def _whole_trace(report: Report) -> str:
    return "".join(to_trace(report))


FORMATS: Final[Mapping[str, Callable[[Report], str]]] = {
    "text": to_text,
    "json": to_json,
    "html": render_page,
    "trace": _whole_trace,
}
"""Format -> the whole report as text."""
