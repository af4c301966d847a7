"""What ``mfu`` and ``schedule`` print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from simulator.planning.grid import Grid, Skipped
from simulator.planning.utilisation import Hint, Measurement, Reported, Utilisation
from simulator.report.characters import MAX_LINES, fitting_scale, lines
from simulator.units import format_seconds, format_si, percent
from simulator.views import table

_MARGIN: Final = 8
CONVENTION_HEADERS: Final = ("convention", "of the peak", "per device", "per token", "counts")
GRID_HEADERS: Final = (
    *("schedule", "p", "m", "v", "bubble", "closed form", "", "step", "held", "worst stage"),
)


def mfu_view(
    measured: Measurement,
    rows: Sequence[Utilisation],
    warnings: Sequence[str],
    reported: Reported | None,
    defaults: Sequence[str],
) -> RenderableType:
    """Every convention, then what is wrong with the number.

    Args:
        measured: throughput and where it was measured.
        rows: conventions.
        warnings: what is wrong with the number.
        reported: a utilisation that somebody printed.
        defaults: options that nobody gave.
    """
    parts: list[RenderableType] = [
        *map(Text, measurement_lines(measured, defaults)),
        Text(),
        table([convention_row(row) for row in rows], CONVENTION_HEADERS),
    ]
    if warnings:
        parts += [Text(), *map(Text, warning_lines(warnings))]
    if reported is not None:
        lines_of = origin_lines(reported.origins)
        parts += [Text(), Text("The reported number is"), *map(Text, lines_of)]
    return Group(*parts)


def measurement_lines(measured: Measurement, defaults: Sequence[str]) -> list[str]:
    """What was measured, on what."""
    peak = measured.peak_flops_per_s
    return [
        f"{measured.model.name}, sequences of {measured.seq_length:,}, "
        f"{measured.tokens_per_s:,.6g} tokens/s on {measured.devices:,} x "
        f"{measured.accelerator.name}",
        f"dense {measured.precision} peak {format_si(peak, 'FLOP/s', digits=4)} per device",
        *([f"taken by default: {', '.join(defaults)}"] if defaults else []),
    ]


def convention_row(row: Utilisation) -> tuple[str, ...]:
    """One convention."""
    return (
        row.convention,
        percent(row.utilisation),
        format_si(row.flops_per_s_per_device, "FLOP/s", digits=4),
        format_si(row.flops_per_token, "FLOP", digits=4),
        row.counts,
    )


def warning_lines(warnings: Sequence[str]) -> list[str]:
    """What is wrong with a number, and what would explain it."""
    first, *rest = warnings
    told = [f"  - {line}" for line in rest] or ["  nothing usual explains it"]
    return [f"warning: {first}; it would be explained if", *told]


def origin_lines(origins: Sequence[Hint]) -> list[str]:
    """Conventions and mistakes that give a reported number."""
    found = [f"  - {hint.words}: {percent(hint.utilisation)}" for hint in origins]
    return found or ["  none of these, with none of the usual mistakes"]


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
    parts.append(table([grid_row(grid) for grid in grids], GRID_HEADERS))
    parts += [Text(f"{s.schedule}, {s.microbatches} microbatches: {s.reason}") for s in skipped]
    parts.append(Text(grid_legend(grids)))
    return Group(*parts)


def grid_title(grid: Grid) -> str:
    """The numbers of a schedule in words."""
    chunks = f", {grid.chunks} chunks per rank" if grid.chunks > 1 else ""
    return f"{grid.kind}: {grid.ranks} ranks, {grid.microbatches} microbatches{chunks}"


def grid_legend(grids: Sequence[Grid]) -> str:
    """What letters, times and columns mean."""
    unit = "F = 1, B = 2 (B = W = 1 where split), messages free"
    times = "simulated times" if all(grid.is_real for grid in grids) else unit
    return (
        f"F forward, B backward, W backward of weights, . idle; {times}. held: most microbatches "
        "of a rank's layers, first to last rank"
    )


def grid_row(grid: Grid) -> list[str]:
    """One schedule."""
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
