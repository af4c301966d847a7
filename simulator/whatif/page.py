"""Curves and tornados as one HTML page: no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from simulator.report.breakdown import MEMORY_LABELS, TIME_LABELS, count, gigabytes, seconds
from simulator.report.drawing import Section, drawing_page
from simulator.report.frame import plain_table
from simulator.report.report import MemoryReport
from simulator.report.shortage import beyond_device, short_of
from simulator.units import percent
from simulator.whatif.charts import (
    comparison_chart,
    efficiency_chart,
    loss_chart,
    time_unit,
    tornado_chart,
)
from simulator.whatif.comparing import Comparison, mfu_note
from simulator.whatif.scaling import HELD, Curve
from simulator.whatif.sensitivity import Sensitivity
from simulator.whatif.terms import largest_loss

_ROUNDING: Final = 1e-9
_EFFICIENCY: Final = "Tokens per second and device over those of the first point of the curve."


def scaling_page(name: str, curves: Sequence[Curve]) -> str:
    """The scaling curves of a scenario."""
    sections = [
        Section("Efficiency", _EFFICIENCY, efficiency_chart(curves)),
        *(
            Section(HELD[curve.mode].capitalize(), "", loss_chart(curve), _points(curve))
            for curve in curves
        ),
    ]
    return drawing_page(f"Scaling of {name}", sections)


def _verdict(memory: MemoryReport) -> str:
    short = short_of(memory)
    return f"does not fit{beyond_device(short, 'in')}" if short else ""


def comparison_page(found: Comparison) -> str:
    """Candidates side by side, and their differences from the reference by term."""
    rows = [
        (
            candidate.label,
            f"{candidate.report.devices:,}",
            seconds(candidate.report.step_time_s),
            count(candidate.report.tokens_per_s),
            percent(candidate.report.mfu),
            gigabytes(candidate.report.memory.peak_bytes),
            _verdict(candidate.report.memory),
        )
        for candidate in found.candidates
    ]
    rows += [(label, "", "cannot be run", reason, "", "", "") for label, reason in found.left_out]
    headers = ("candidate", "devices", "step time", "tokens/s", "MFU", "memory", "")
    times = [
        (c.label, c.time_s if found.same_work else {t: 1e6 * v for t, v in c.cost_s.items()})
        for c in found.candidates
    ]
    memories = [
        (c.label, {t: v / 1e9 for t, v in c.memory_bytes.items()}) for c in found.candidates
    ]
    cost, more = time_unit(found), f"more than {found.reference}"
    differences = (
        (f"{cost} {more}", _differences(times, TIME_LABELS)),
        (f"GB on the worst rank {more}", _differences(memories, MEMORY_LABELS)),
    )
    sections = [
        Section(cost, mfu_note(found), comparison_chart(found), plain_table(headers, rows)),
        *(Section(title, "", "", shown) for title, shown in differences),
    ]
    return drawing_page("Comparison", sections)


def _differences(rows: Sequence[tuple[str, Mapping[str, float]]], words: Mapping[str, str]) -> str:
    """A line per candidate; terms that are the same for all are left out."""
    terms = [term for term in words if any(abs(change[term]) > _ROUNDING for _, change in rows)]
    cells = [
        (label, *(_signed(change[term]) for term in terms), _signed(sum(change.values())))
        for label, change in rows
    ]
    return plain_table(("candidate", *(words[term] for term in terms), "sum"), cells)


def _signed(value: float) -> str:
    return f"{value:+.4g}" if abs(value) > _ROUNDING else "0"


def sensitivity_page(name: str, found: Sensitivity) -> str:
    """The tornado of a scenario."""
    base = found.base
    note = (
        f"Tokens per second and device against the base: step time {seconds(base.step_time_s)}, "
        f"{count(base.tokens_per_s_per_device)} tokens/s per device. One lever at a time."
    )
    rows = [
        (
            bar.what,
            effect.setting,
            percent(effect.speed_change, signed=True),
            seconds(effect.report.step_time_s),
            gigabytes(effect.headroom_bytes),
        )
        for bar in found.bars
        for effect in bar.effects
    ]
    rows += [
        (name, setting, "cannot be run", reason, "") for name, setting, reason in found.left_out
    ]
    headers = ("lever", "setting", "tokens/s per device", "step time", "headroom")
    tornado = Section("Tornado", note, tornado_chart(found), plain_table(headers, rows))
    return drawing_page(f"Sensitivity of {name}", [tornado])


def _points(curve: Curve) -> str:
    rows = [
        (
            f"{point.devices:,}",
            f"{point.global_batch_size:,}",
            seconds(point.report.step_time_s),
            count(point.report.tokens_per_s),
            percent(point.efficiency),
            percent(point.marginal),
            TIME_LABELS.get(largest_loss(point.losses) or "", "-"),
        )
        for point in curve.points
    ]
    headers = ("devices", "batch", "step time", "tokens/s", "efficiency", "marginal", "eaten by")
    shown = plain_table(headers, rows)
    if curve.left_out:
        others = [(f"{out.devices:,}", out.reason) for out in curve.left_out]
        shown += plain_table(("left out", "reason"), others)
    return shown
