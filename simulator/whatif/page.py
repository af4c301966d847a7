"""Curves and tornados as one HTML page: no scripts, nothing loaded from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Final

from simulator.report.breakdown import MEMORY_LABELS, TIME_LABELS, count, gigabytes, seconds
from simulator.report.svg import element, escape
from simulator.units import percent
from simulator.whatif.charts import (
    comparison_chart,
    efficiency_chart,
    loss_chart,
    tornado_chart,
)
from simulator.whatif.comparing import Comparison
from simulator.whatif.scaling import HELD, Curve
from simulator.whatif.sensitivity import Sensitivity
from simulator.whatif.terms import largest_loss

_ROUNDING: Final = 1e-9
_STYLE: Final = """
.line-time-compute { stroke: var(--blue); }
.line-time-pp-comm { stroke: var(--coral); }
.line-time-optimizer { stroke: var(--green); }
"""


def scaling_page(name: str, curves: Sequence[Curve]) -> str:
    """The scaling curves of a scenario."""
    sections = [_section("Efficiency", _drawing(efficiency_chart(curves)))]
    for curve in curves:
        body = _drawing(loss_chart(curve)) + _points(curve)
        sections.append(_section(HELD[curve.mode].capitalize(), body))
    return _page(f"Scaling of {name}", sections)


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
            "" if candidate.report.memory.fits else "does not fit",
        )
        for candidate in found.candidates
    ]
    rows += [(label, "", "cannot be run", reason, "", "", "") for label, reason in found.left_out]
    headers = ("candidate", "devices", "step time", "tokens/s", "MFU", "memory", "")
    times = [(c.label, {t: 1e6 * v for t, v in c.cost_s.items()}) for c in found.candidates]
    memories = [
        (c.label, {t: v / 1e9 for t, v in c.memory_bytes.items()}) for c in found.candidates
    ]
    drawn = _drawing(comparison_chart(found))
    more = f"more than {found.reference}"
    sections = [
        _section("Device-seconds per million tokens", drawn + _table(headers, rows)),
        _section(f"Device-seconds per million tokens {more}", _differences(times, TIME_LABELS)),
        _section(f"GB on the worst rank {more}", _differences(memories, MEMORY_LABELS)),
    ]
    return _page("Comparison", sections)


def _differences(rows: Sequence[tuple[str, Mapping[str, float]]], words: Mapping[str, str]) -> str:
    """A line per candidate; terms that are the same for all are left out."""
    terms = [term for term in words if any(abs(change[term]) > _ROUNDING for _, change in rows)]
    cells = [
        (label, *(_signed(change[term]) for term in terms), _signed(sum(change.values())))
        for label, change in rows
    ]
    return _table(("candidate", *(words[term] for term in terms), "sum"), cells)


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
    body = element("p", escape(note), class_="note") + _drawing(tornado_chart(found))
    return _page(f"Sensitivity of {name}", [_section("Tornado", body + _table(headers, rows))])


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
    shown = _table(headers, rows)
    if curve.left_out:
        others = [(f"{out.devices:,}", out.reason) for out in curve.left_out]
        shown += _table(("left out", "reason"), others)
    return shown


def _page(title: str, sections: Sequence[str]) -> str:
    style = (files("simulator.report") / "page.css").read_text("utf-8") + _STYLE
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n"
        f"<body>\n<header><h1>{escape(title)}</h1></header>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def _section(title: str, body: str) -> str:
    return element("section", element("h2", escape(title)), body)


def _drawing(svg: str) -> str:
    return element("div", svg, class_="scroll")


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = element("tr", *(element("th", escape(header)) for header in headers))
    body = "".join(element("tr", *(element("td", escape(cell)) for cell in row)) for row in rows)
    return _drawing(element("table", element("thead", head), element("tbody", body)))
