"""The page of ``samples``."""

from __future__ import annotations

from simulator.montecarlo import Samples
from simulator.report.drawing import Section, drawing_page
from simulator.report.frame import plain_table
from simulator.report.histogram import Line, histogram
from simulator.units import format_si
from simulator.views_samples import STEP_HEADERS, noise_line, step_rows


def samples_page(name: str, found: Samples) -> str:
    """How often which step time was drawn, with its percentiles, beside the step without noise."""
    lines = [
        Line(found.noise_free_s, "without noise", "limit"),
        *(Line(found.percentile_s(part), f"{part} %", "range") for part in (5, 50, 95)),
    ]
    svg = histogram(found.step_time_s, lines, "step time", _seconds)
    note = "Black: so many percent of the steps are no longer. Dashed: the step without noise."
    table = plain_table(STEP_HEADERS, step_rows(found))
    section = Section("Step times", note, svg, table)
    return drawing_page(f"Step times of {name}", [section], note=noise_line(found))


def _seconds(time_s: float) -> str:
    return format_si(time_s, "s", digits=4)
