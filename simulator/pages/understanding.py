"""Pages of ``mfu`` and ``schedule``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simulator.planning.grid import Grid, Skipped
from simulator.planning.utilisation import Measurement, Reported, Utilisation
from simulator.report.bars import Bar, Limit, Part, bar_chart
from simulator.report.breakdown import seconds
from simulator.report.drawing import Section, drawing_page
from simulator.report.frame import plain_table
from simulator.report.gantt import gantt, gantt_note
from simulator.units import percent
from simulator.views_understanding import (
    CONVENTION_HEADERS,
    GRID_HEADERS,
    convention_row,
    grid_legend,
    grid_row,
    grid_title,
    measurement_lines,
    origin_lines,
    warning_lines,
)


def mfu_page(
    measured: Measurement,
    rows: Sequence[Utilisation],
    warnings: Sequence[str],
    reported: Reported | None,
    defaults: Sequence[str],
) -> str:
    """Every convention as a bar, with the peak and what somebody reported.

    Args:
        measured: throughput and where it was measured.
        rows: conventions.
        warnings: what is wrong with the number.
        reported: a utilisation that somebody printed, and what explains it.
        defaults: options that nobody gave.
    """
    bars = [
        Bar(
            row.convention,
            [Part(row.utilisation, "total" if row.utilisation <= 1 else "loss", row.counts)],
            percent(row.utilisation),
            mark=reported and reported.utilisation,
        )
        for row in rows
    ]
    note = f"Short lines: the reported {percent(reported.utilisation)}." if reported else ""
    svg = bar_chart(bars, "Utilisation by convention", limit=Limit(1.0, "dense peak"))
    table = plain_table(CONVENTION_HEADERS, [convention_row(row) for row in rows])
    sections = [Section("Share of the dense peak, by convention", note, svg, table)]
    if warnings:
        sections.append(Section("Warning", "\n".join(warning_lines(warnings)), ""))
    if reported is not None:
        lines = origin_lines(reported.origins)
        sections.append(Section("The reported number", "\n".join(lines), ""))
    title = f"Utilisation of {measured.model.name}"
    return drawing_page(title, sections, note=", ".join(measurement_lines(measured, defaults)))


def schedule_page(title: str, grids: Sequence[Grid], skipped: Sequence[Skipped]) -> str:
    """Bubbles side by side, every grid drawn, and all as a table."""
    left_out = [f"{s.schedule}, {s.microbatches} microbatches: {s.reason}" for s in skipped]
    rows = [grid_row(grid) for grid in grids]
    note = "\n".join([*left_out, grid_legend(grids)])
    bubbles = Section(
        "Bubbles",
        "Idle share of the step. Short lines: the closed form, where there is one.",
        bar_chart([_bubble(grid) for grid in grids], "Bubble of every schedule"),
    )
    sections = [
        *([bubbles] if len(grids) > 1 else []),
        *grid_sections(grids),
        Section("Numbers", note, "", plain_table(GRID_HEADERS, rows)),
    ]
    return drawing_page(title, sections)


def grid_sections(grids: Sequence[Grid]) -> list[Section]:
    """The grids as drawings of a page."""
    return [
        Section(
            grid_title(grid),
            f"{_facts(grid)} {gantt_note(grid.timeline, _unit(grid))}",
            gantt(grid.timeline, _unit(grid)),
        )
        for grid in grids
    ]


def _unit(grid: Grid) -> Callable[[float], str]:
    """Times with their unit: seconds of a scenario, forwards of a schedule alone."""
    return seconds if grid.is_real else "{:.4g} F".format


def _bubble(grid: Grid) -> Bar:
    share = percent(grid.bubble_share)
    parts = [Part(grid.bubble_share, "time-bubble")]
    chunks = f" x{grid.chunks}" if grid.chunks > 1 else ""
    label = f"{grid.kind}{chunks}, {grid.microbatches} microbatches"
    return Bar(label, parts, share, mark=grid.closed_form_share)


def _facts(grid: Grid) -> str:
    unit = "" if grid.is_real else " Times in forwards of a rank, F."
    form = grid.closed_form
    beside = (
        f", closed form {form.formula}: {percent(grid.closed_form_share)} ({form.source})"
        if form
        else ""
    )
    return f"Bubble {percent(grid.bubble_share)}{beside}.{unit}"
