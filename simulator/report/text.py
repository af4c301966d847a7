"""A report for the terminal: legible without colour and at 80 columns."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from simulator.report.breakdown import (
    FLOPS_LABELS,
    MEMORY_LABELS,
    TIER_LABELS,
    TIER_TERM_LABELS,
    TIME_LABELS,
    count,
    dense_peak_flops_per_s,
    flops_rate,
    fraction,
    gigabytes,
    memory_terms,
    scenario_name,
    seconds,
    step_time_range,
    time_terms,
    waterfall,
    worst_rank,
)
from simulator.report.pattern import pattern_rows
from simulator.report.report import RankMemory, Report
from simulator.units import percent

PLAIN_WIDTH: Final = 80
_BAR_WIDTH: Final = 26
_MAX_RANK_CLASSES: Final = 6
_MAX_KERNELS: Final = 8
_STATES: Final = ("weights", "gradients", "optimizer", "master_weights")
_ACTIVATIONS: Final = ("activations", "logits")


@dataclass(frozen=True, slots=True)
class Bar:
    """A horizontal bar from ``begin`` to ``end``, fractions of the width; ASCII where needed."""

    begin: float
    end: float
    style: str = "cyan"
    width: int = _BAR_WIDTH

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[Segment]:
        """Blank up to ``begin``, then filled; a bar that is not empty shows at least one cell."""
        low, high = sorted(min(max(v, 0.0), 1.0) for v in (self.begin, self.end))
        first = min(round(low * self.width), self.width - 1)
        filled = max(round(high * self.width) - first, 1 if high > low else 0)
        mark = "#" if options.ascii_only else "█"
        yield Segment(" " * first)
        yield Segment(mark * filled, Style.parse(self.style))
        yield Segment(" " * (self.width - first - filled))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Always ``width`` cells."""
        return Measurement(self.width, self.width)


def render(report: Report, *, verbose: bool = False) -> RenderableType:
    """The report as something a ``rich.console.Console`` prints.

    Args:
        report: what to show.
        verbose: list every rank class, kernel and assumption instead of the main ones.
    """
    parts: list[RenderableType] = [
        _title(scenario_name(report), f"{report.devices} devices"),
        _headline(report),
        *_out_of_memory(report),
        *_pattern_section(report),
        _section("Where the time goes (critical rank)", _time_table(report)),
        _section("From the dense peak to the MFU", _waterfall_table(report)),
        *_memory_sections(report, verbose=verbose),
        *_kernel_section(report, verbose=verbose),
        _section("FLOP conventions (per device, of the dense peak)", _flops_table(report)),
        *_assumption_section(report, verbose=verbose),
    ]
    return Group(*parts)


def to_text(report: Report) -> str:
    """The report as plain text, 80 columns wide."""
    buffer = io.StringIO()
    console = Console(file=buffer, width=PLAIN_WIDTH, color_system=None, force_terminal=False)
    console.print(render(report))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _title(name: str, detail: str) -> Text:
    return Text.assemble((name, "bold"), "   ", (detail, "dim"))


def _section(title: str, body: RenderableType) -> Group:
    return Group(Text(), Text(title, "bold"), Padding(body, (0, 0, 0, 2)))


def _grid(*justify: str) -> Table:
    """A table without lines; ``justify`` has ``l`` or ``r`` per column, capital if it may wrap."""
    table = Table.grid(padding=(0, 2))
    for letter in justify:
        side = "right" if letter in "rR" else "left"
        table.add_column(justify=side, no_wrap=letter.islower(), overflow="fold")
    return table


def _header(table: Table, *titles: str) -> None:
    table.add_row(*(Text(title, "dim") for title in titles))


def _row(table: Table, *cells: RenderableType) -> None:
    """Adds a row; text is shown as it is, so that ``[`` in a name is no markup."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def _executed(report: Report) -> str:
    """What sets executed FLOPs apart from those of the MFU."""
    training = report.scenario.get("training")
    if isinstance(training, Mapping) and "fine_tuning" in training:
        return "without weight gradients of frozen matrices, which the MFU counts"
    if report.hfu < report.mfu:
        return "without the attention that a causal mask skips, which the MFU counts"
    return "recompute counted"


def _headline(report: Report) -> RenderableType:
    memory = report.memory
    fit = Text("fits", "green") if memory.fits else Text("DOES NOT FIT", "bold red")
    tokens_per_device = count(report.tokens_per_s_per_device)
    peak = flops_rate(dense_peak_flops_per_s(report))
    rows: list[tuple[str, str, str | Text]] = [
        ("step time", seconds(report.step_time_s), step_time_range(report)),
        ("tokens/s", count(report.tokens_per_s), f"{tokens_per_device} per device"),
        (
            "MFU",
            percent(report.mfu),
            f"{flops_rate(report.model_flops_per_s_per_device)} per device, model FLOPs counted "
            f"as '{report.flops_convention}', dense peak {peak}",
        ),
        (
            "HFU",
            percent(report.hfu),
            f"{flops_rate(report.hardware_flops_per_s_per_device)} per device, executed FLOPs "
            f"({_executed(report)})",
        ),
        (
            "memory",
            gigabytes(memory.peak_bytes),
            Text.assemble(
                f"of {gigabytes(memory.capacity_bytes)}, worst: {memory.worst_rank_class}; ", fit
            ),
        ),
    ]
    table = _grid("l", "r", "L")
    for name, value, note in rows:
        _row(table, name, Text(value, "bold"), note)
    return Padding(table, (0, 0, 0, 2))


def _out_of_memory(report: Report) -> list[RenderableType]:
    oom = report.memory.out_of_memory
    if oom is None:
        return []
    label = TIER_TERM_LABELS.get(oom.largest_term, oom.largest_term)
    worst_class = report.memory.worst_rank_class
    excess = gigabytes(oom.demand_bytes - oom.capacity_bytes)
    who = f"the {TIER_LABELS[oom.level]} of a node" if oom.level in TIER_LABELS else worst_class
    reason = Text(
        f"{who} needs {gigabytes(oom.demand_bytes)} and has "
        f"{gigabytes(oom.capacity_bytes)}: {excess} too much. Largest term: {label}."
    )
    table = _grid("L", "r")
    if oom.levers:
        _header(table, "what would help", "saves")
    for change, saved_bytes in oom.levers:
        _row(table, change, gigabytes(saved_bytes))
    return [Text(), Text("Out of memory", "bold red"), Padding(Group(reason, table), (0, 0, 0, 2))]


def _time_table(report: Report) -> Table:
    table = _grid("l", "r", "r", "l")
    for name, value in time_terms(report):
        share = fraction(value, report.step_time_s)
        label = TIME_LABELS.get(name, name)
        style = "cyan" if name == "compute" else "yellow"
        _row(table, label, seconds(value), percent(share), Bar(0.0, share, style))
    total = fraction(sum(report.time.values()), report.step_time_s)
    _row(table, Text("step", "bold"), seconds(report.step_time_s), percent(total), "")
    return table


def _pattern_section(report: Report) -> list[RenderableType]:
    if report.pattern is None:
        return []
    table = _grid("L", "r", "L")
    for what, value, note in pattern_rows(report.pattern):
        _row(table, what, value, note)
    return [_section("Pattern of steps", table)]


def _waterfall_table(report: Report) -> Table:
    table = _grid("l", "r", "l")
    for step in waterfall(report):
        shown = percent(step.after) if step.is_total else percent(step.change, signed=True)
        style = "cyan" if step.is_total else "red" if step.change < 0 else "green"
        label = Text(step.name, "bold" if step.is_total else "")
        _row(table, label, shown, Bar(step.before, step.after, style))
    return table


def _memory_sections(report: Report, *, verbose: bool) -> list[RenderableType]:
    sections: list[RenderableType] = []
    worst = worst_rank(report)
    if worst is not None:
        title = f"Memory of {worst.rank_class} at its peak ({seconds(worst.peak_at_s)})"
        sections.append(_section(title, _term_table(worst, report.memory.capacity_bytes)))
    if report.memory.tiers:
        sections.append(_section("Memory of a node", _tier_table(report)))
    if len(report.memory.rank_classes) > 1:
        table = _rank_table(report, verbose=verbose)
        sections.append(_section("Memory per rank class", table))
    return sections


def _term_table(rank: RankMemory, capacity_bytes: float) -> Table:
    table = _grid("l", "r", "r", "l")
    _header(table, "", "", "of capacity", "")
    for name, value in memory_terms(rank):
        share = fraction(value, capacity_bytes)
        _row(
            table, MEMORY_LABELS.get(name, name), gigabytes(value), percent(share), Bar(0.0, share)
        )
    share = fraction(rank.peak_bytes, capacity_bytes)
    _row(table, Text("peak", "bold"), gigabytes(rank.peak_bytes), percent(share), "")
    return table


def _tier_table(report: Report) -> Table:
    table = _grid("l", "r", "r", "l", "L")
    _header(table, "", "", "of capacity", "", "")
    for tier in report.memory.tiers:
        share = fraction(tier.demand_bytes, tier.capacity_bytes)
        most = max(tier.terms, key=lambda term: tier.terms[term])
        _row(
            table,
            TIER_LABELS.get(tier.name, tier.name),
            gigabytes(tier.demand_bytes),
            percent(share) if tier.capacity_bytes else "has none",
            Bar(0.0, share),
            f"most: {TIER_TERM_LABELS.get(most, most)}",
        )
    return table


def _rank_table(report: Report, *, verbose: bool) -> RenderableType:
    table = _grid("L", "r", "r", "r", "r", "r")
    _header(table, "rank class", "ranks", "peak", "states", "activations", "in flight")
    classes = report.memory.rank_classes
    shown = classes if verbose else _main_classes(report)
    for rank in shown:
        is_worst = rank.rank_class == report.memory.worst_rank_class
        _row(
            table,
            f"{rank.rank_class}{' (worst)' if is_worst else ''}",
            str(rank.num_ranks),
            gigabytes(rank.peak_bytes),
            gigabytes(sum(rank.terms.get(name, 0.0) for name in _STATES)),
            gigabytes(sum(rank.terms.get(name, 0.0) for name in _ACTIVATIONS)),
            f"{rank.inflight_microbatches:.3g}",
        )
    return _with_rest(table, len(classes) - len(shown), "rank classes")


def _main_classes(report: Report) -> Sequence[RankMemory]:
    """The classes with the highest peaks, in the order of the report."""
    classes = report.memory.rank_classes
    by_peak = sorted(range(len(classes)), key=lambda i: (-classes[i].peak_bytes, i))
    return [classes[i] for i in sorted(by_peak[:_MAX_RANK_CLASSES])]


def _kernel_section(report: Report, *, verbose: bool) -> list[RenderableType]:
    if not report.kernels:
        return []
    table = _grid("L", "r", "r", "r", "r")
    _header(table, "family", "time", "of step", "rate", "bandwidth")
    shown = report.kernels if verbose else report.kernels[:_MAX_KERNELS]
    for kernel in shown:
        _row(
            table,
            Text(kernel.name),
            seconds(kernel.time_s),
            percent(fraction(kernel.time_s, report.step_time_s)),
            flops_rate(fraction(kernel.flops, kernel.time_s)) if kernel.flops else "",
            f"{gigabytes(fraction(kernel.moved_bytes, kernel.time_s))}/s"
            if kernel.moved_bytes
            else "",
        )
    body = _with_rest(table, len(report.kernels) - len(shown), "kernel families")
    return [_section("Kernels (critical rank)", body)]


def _flops_table(report: Report) -> Table:
    table = _grid("L", "r", "r", "r")
    _header(table, "counted as", "per step", "rate", "of peak")
    for name, rates in report.flops.items():
        _row(
            table,
            FLOPS_LABELS.get(name, name),
            count(rates.flops_per_step),
            flops_rate(rates.flops_per_s_per_device),
            percent(rates.utilisation),
        )
    return table


def _assumption_section(report: Report, *, verbose: bool) -> list[RenderableType]:
    assumptions = report.assumptions
    if not assumptions:
        return []
    by_source: dict[str, list[str]] = {}
    for assumption in assumptions:
        shown = f"{assumption.name} = {assumption.value}"
        by_source.setdefault(assumption.source, []).append(shown)
    title = f"Assumptions ({len(assumptions)})"
    if not verbose:
        sources = f"{len(by_source)} source{'s' if len(by_source) > 1 else ''}"
        note = f"{len(assumptions)} values taken from {sources}; --verbose lists them"
        return [_section(title, Text(note))]
    table = _grid("L")
    for source, names in by_source.items():
        _row(table, Text(source, "italic"))
        _row(table, Padding(Group(*(Text(name) for name in names)), (0, 0, 0, 2)))
    return [_section(title, table)]


def _with_rest(table: Table, num_hidden: int, what: str) -> RenderableType:
    if not num_hidden:
        return table
    return Group(table, Text(f"and {num_hidden} more {what}; --verbose lists them", "dim"))
