"""What ``mfu`` and ``schedule`` print."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from simulator.planning.grid import Grid, Skipped
from simulator.planning.utilisation import Hint, Measurement, Utilisation
from simulator.report.characters import MAX_LINES, fitting_scale, lines
from simulator.report.drawing import Section
from simulator.report.gantt import gantt, gantt_note
from simulator.units import format_seconds, format_si, percent
from simulator.views import table

_MARGIN = 8


def mfu_view(
    measured: Measurement,
    rows: Sequence[Utilisation],
    warnings: Sequence[str],
    origins: Sequence[Hint] | None,
    defaults: Sequence[str],
) -> RenderableType:
    """Every convention, then what is wrong with the number.

    ``defaults`` are the options that nobody gave.
    """
    peak = measured.peak_flops_per_s
    parts: list[RenderableType] = [
        Text(
            f"{measured.model.name}, sequences of {measured.seq_length:,}, "
            f"{measured.tokens_per_s:,.6g} tokens/s on {measured.devices:,} x "
            f"{measured.accelerator.name}"
        ),
        Text(f"dense {measured.precision} peak {format_si(peak, 'FLOP/s', digits=4)} per device"),
        *([Text(f"taken by default: {', '.join(defaults)}")] if defaults else []),
        Text(),
        table(
            [
                (
                    row.convention,
                    percent(row.utilisation),
                    format_si(row.flops_per_s_per_device, "FLOP/s", digits=4),
                    format_si(row.flops_per_token, "FLOP", digits=4),
                    row.counts,
                )
                for row in rows
            ],
            ("convention", "of the peak", "per device", "per token", "counts"),
        ),
    ]
    if warnings:
        first, *rest = warnings
        parts += [Text(), Text(f"warning: {first}; it would be explained if")]
        parts += [Text(f"  - {line}") for line in rest] or [Text("  nothing usual explains it")]
    if origins is not None:
        parts += [Text(), Text("The reported number is")]
        parts += [Text(f"  - {hint.words}: {percent(hint.utilisation)}") for hint in origins]
        parts += [] if origins else [Text("  none of these, with none of the usual mistakes")]
    return Group(*parts)


def schedule_view(
    grids: Sequence[Grid], skipped: Sequence[Skipped], width: int, *, coloured: bool
) -> RenderableType:
    """Every grid drawn, a table of all, and what does not exist."""
    parts: list[RenderableType] = []
    for grid in grids:
        scale = fitting_scale(grid.timeline, width - _MARGIN)
        parts.append(Text(grid_title(grid), style="bold"))
        parts += lines(grid.timeline, scale, coloured=coloured)
        if grid.ranks > MAX_LINES:
            parts.append(Text(f"    {MAX_LINES} of {grid.ranks} ranks are drawn"))
        parts.append(Text())
    headers = (
        "schedule",
        "p",
        "m",
        "v",
        "bubble",
        "closed form",
        "",
        "step",
        "held",
        "worst stage",
    )
    parts.append(table([_grid_row(grid) for grid in grids], headers))
    parts += [Text(f"{s.schedule}, {s.microbatches} microbatches: {s.reason}") for s in skipped]
    parts.append(Text(_legend(grids)))
    return Group(*parts)


def grid_title(grid: Grid) -> str:
    """The numbers of a schedule in words."""
    chunks = f", {grid.chunks} chunks per rank" if grid.chunks > 1 else ""
    return f"{grid.kind}: {grid.ranks} ranks, {grid.microbatches} microbatches{chunks}"


def _legend(grids: Sequence[Grid]) -> str:
    unit = "F = 1, B = 2 (B = W = 1 where split), messages free"
    times = "simulated times" if all(grid.is_real for grid in grids) else unit
    return (
        f"F forward, B backward, W backward of weights, . idle; {times}. held: most microbatches "
        "of a rank's layers, first to last rank"
    )


def _grid_row(grid: Grid) -> list[str]:
    form, held = grid.closed_form, grid.inflight
    length = format_seconds(grid.length) if grid.is_real else f"{grid.length:g} F"
    return [
        grid.kind,
        str(grid.ranks),
        str(grid.microbatches),
        str(grid.chunks),
        percent(grid.bubble_share),
        percent(grid.closed_form_share),
        form.formula if form else "",
        length,
        f"{held[0]:.3g} to {held[-1]:.3g}",
        _worst(grid),
    ]


def _worst(grid: Grid) -> str:
    """The slowest stage and by how much; of equal stages there is none."""
    mean = sum(grid.stage_time) / len(grid.stage_time)
    excess = max(grid.stage_time) / mean - 1 if mean else 0.0
    if excess < 1e-9:
        return "all alike"
    rank = grid.worst_stage
    return f"{rank}, {percent(excess)} above the mean"


def sections(grids: Sequence[Grid]) -> list[Section]:
    """The grids as drawings of a page."""
    return [
        Section(
            grid_title(grid), f"{_facts(grid)} {gantt_note(grid.timeline)}", gantt(grid.timeline)
        )
        for grid in grids
    ]


def _facts(grid: Grid) -> str:
    unit = "" if grid.is_real else " One second stands for the forward of a rank."
    form = grid.closed_form
    beside = (
        f", closed form {form.formula}: {percent(grid.closed_form_share)} ({form.source})"
        if form
        else ""
    )
    return f"Bubble {percent(grid.bubble_share)}{beside}.{unit}"
