"""What ``scale``, ``compare`` and ``sensitivity`` print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from simulator.report.breakdown import TIME_LABELS, count, gigabytes, seconds
from simulator.report.report import MEMORY_TERMS, TIME_TERMS, Report
from simulator.report.shortage import beyond_device, short_of
from simulator.report.text import Bar as TextBar
from simulator.units import percent
from simulator.views import table
from simulator.whatif.comparing import Candidate, Comparison, mfu_note
from simulator.whatif.scaling import HELD, Curve, ScalePoint
from simulator.whatif.sensitivity import Bar, Sensitivity
from simulator.whatif.terms import largest_loss

_SHORT: Final[Mapping[str, str]] = {
    "tp_comm": "tp comm",
    "ep_comm": "ep comm",
    "cp_comm": "cp comm",
    "pp_comm": "pp comm",
    "dp_comm": "dp comm",
    "master_weights": "master w.",
}
"""Heads of columns where the words of the report are too long."""
_NEGLIGIBLE: Final = 5e-4
"""Share of the whole that is not shown."""
_MAX_LABEL: Final = 30
"""Longer names of candidates are written once and numbered."""
_MAX_TERMS: Final = 5
"""Columns of terms; what the others take is summed up."""
_OTHER: Final = "other"
_ROUNDING: Final = 1e-9
_MILLION: Final = 1e6


def scaling_view(name: str, curves: Sequence[Curve]) -> RenderableType:
    """One table per curve, and where it stops paying."""
    parts: list[RenderableType] = [Text(name, "bold")]
    for curve in curves:
        parts += [Text(), Text(HELD[curve.mode].capitalize(), "bold")]
        if curve.points:
            parts.append(_scale_table(curve.points))
        parts.append(Text(_verdict(curve)))
        if curve.left_out:
            shown = [(f"{out.devices:,}", out.reason) for out in curve.left_out]
            parts += [Text("Left out"), table(shown)]
    return Group(*parts)


def _scale_table(points: Sequence[ScalePoint]) -> RenderableType:
    """A line per point: what it reaches, and what the terms of the step take of it."""
    most = {term: max(abs(point.losses[term]) for point in points) for term in TIME_TERMS}
    seen = [term for term in TIME_TERMS if most[term] >= _NEGLIGIBLE]
    main = sorted(seen, key=lambda term: -most[term])[:_MAX_TERMS]
    terms = [term for term in seen if term in main]
    others = [_OTHER] if len(seen) > len(main) else []
    headers = ("devices", "batch", "step time", "tokens/s", "efficiency", "marginal")
    rows = [
        [
            f"{point.devices:,}",
            _batch(point),
            seconds(point.report.step_time_s),
            count(point.report.tokens_per_s),
            percent(point.efficiency),
            percent(point.marginal),
            *(_lost(point.losses[term]) for term in terms),
            *(_lost(sum(point.losses[t] for t in TIME_TERMS if t not in terms)) for _ in others),
            _eaten_by(point),
        ]
        for point in points
    ]
    return _close(rows, (*headers, *map(_short, terms), *others, "eaten by"))


def _batch(point: ScalePoint) -> str:
    micro = f" by {point.micro_batch_size}" if point.micro_batch_size > 1 else ""
    return f"{point.global_batch_size:,}{micro}"


def _eaten_by(point: ScalePoint) -> str:
    term = largest_loss({t: share for t, share in point.losses.items() if share >= _NEGLIGIBLE})
    return _short(term) if term else "-"


def _close(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> Table:
    """As ``table``, with less between the many columns."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, header in enumerate(headers):
        grid.add_column(header, style="bold" if index == 0 else "", no_wrap=True)
    for row in rows:
        grid.add_row(*map(Text, row))
    return grid


def _lost(share: float) -> str:
    """What a term takes of the efficiency, with a sign; a dash where it is next to nothing."""
    return percent(-share, signed=True) if abs(share) >= _NEGLIGIBLE else "-"


def _verdict(curve: Curve) -> str:
    share = percent(curve.pays, digits=0)
    if curve.pays_to is None:
        return "No point can be run."
    to = f"{curve.pays_to.devices:,} devices"
    of_first = "of what one of the first does"
    if curve.stops_at is None:
        return f"Pays to the end, {to}: each one added brings {share} {of_first}, or more."
    stop = curve.stops_at
    return (
        f"Pays up to {to}: up to {stop.devices:,}, each one added brings {percent(stop.marginal)} "
        f"{of_first}, less than {share}."
    )


def comparison_view(found: Comparison) -> RenderableType:
    """Side by side; then step time and memory relative to the reference, term by term."""
    names = _names([candidate.label for candidate in found.candidates])
    reference = names[found.reference]
    headers = ("", "devices", "step time", "tokens/s", "per device", "MFU", "memory", "")
    rows = [
        [names[c.label], *_candidate_cells(c, found.reference == c.label)] for c in found.candidates
    ]
    parts: list[RenderableType] = []
    if any(name != label for label, name in names.items()):
        parts += [table([(name, label) for label, name in names.items()]), Text()]
    parts.append(_close(rows, headers))
    if note := mfu_note(found):
        parts.append(Text(note))
    others = [c for c in found.candidates if c.label != found.reference]
    if others:
        labels = [names[candidate.label] for candidate in others]
        title, changes = _time_changes(found, others)
        parts += [Text(), Text(f"Longer than {reference}, {title}", "bold")]
        parts.append(_terms_table(labels, changes, TIME_TERMS))
        changes = [{t: v / 1e9 for t, v in c.memory_bytes.items()} for c in others]
        parts += [Text(), Text(f"More memory than {reference}, GB on the worst rank", "bold")]
        parts.append(_terms_table(labels, changes, MEMORY_TERMS))
        parts.append(Text())
        parts += [Text(f"{names[c.label]}: {_sentence(c, found, reference)}") for c in others]
    if found.left_out:
        parts += [Text("\nCannot be run"), table(found.left_out)]
    return Group(*parts)


def _names(labels: Sequence[str]) -> dict[str, str]:
    """Label -> what it is called in tables: itself, or a number where it is long."""
    if all(len(label) <= _MAX_LABEL for label in labels):
        return {label: label for label in labels}
    return {label: f"#{index}" for index, label in enumerate(labels, 1)}


def _candidate_cells(candidate: Candidate, is_reference: bool) -> list[str]:
    report = candidate.report
    marks = ["reference"] if is_reference else []
    short = short_of(report.memory)
    marks += [f"does NOT fit{beyond_device(short, 'in')}"] if short else []
    return [
        f"{report.devices:,}",
        seconds(report.step_time_s),
        count(report.tokens_per_s),
        count(report.tokens_per_s_per_device),
        percent(report.mfu),
        gigabytes(report.memory.peak_bytes),
        ", ".join(marks),
    ]


def _time_changes(
    found: Comparison, others: Sequence[Candidate]
) -> tuple[str, list[Mapping[str, float]]]:
    """Seconds where all do the same work on as many devices, else device-seconds per token."""
    if found.same_work:
        return "seconds a step", [candidate.time_s for candidate in others]
    changes = [{t: v * _MILLION for t, v in c.cost_s.items()} for c in others]
    return "device-seconds per million tokens", [*changes]


def _terms_table(
    labels: Sequence[str], changes: Sequence[Mapping[str, float]], order: Sequence[str]
) -> RenderableType:
    terms = _present(changes, order)
    rows = [
        [label, *(_signed(change[term]) for term in terms), _signed(sum(change.values()))]
        for label, change in zip(labels, changes, strict=True)
    ]
    return _close(rows, ("", *(_short(term) for term in terms), "sum"))


def _signed(value: float) -> str:
    return f"{value:+.4g}" if abs(value) > _ROUNDING else "0"


def _sentence(candidate: Candidate, found: Comparison, reference: str) -> str:
    """``+3.2 % device time per token: +2.9 % exposed data-parallel comm, ...``."""
    base = next(c.report for c in found.candidates if c.label == found.reference)
    shares = {t: v * base.tokens_per_s_per_device for t, v in candidate.cost_s.items()}
    if all(abs(share) < _NEGLIGIBLE for share in (*shares.values(), sum(shares.values()))):
        return f"as fast as {reference}"
    main = sorted(shares, key=lambda term: -abs(shares[term]))[:3]
    words = ", ".join(
        f"{percent(shares[term], signed=True)} {TIME_LABELS.get(term, term)}"
        for term in main
        if abs(shares[term]) >= _NEGLIGIBLE
    )
    return f"{percent(sum(shares.values()), signed=True)} device time per token: {words}"


def sensitivity_view(found: Sensitivity) -> RenderableType:
    """A tornado: the lever with the largest reach first."""
    base = found.base
    most = max((abs(e.speed_change) for b in found.bars for e in b.effects), default=0.0)
    parts: list[RenderableType] = [
        Text(
            f"base: step time {seconds(base.step_time_s)}, {count(base.tokens_per_s_per_device)} "
            f"tokens/s per device, headroom {_headroom(base)}; speed: tokens/s per device"
        ),
        Text(),
        _tornado_table(found.bars, most),
    ]
    if found.left_out:
        rows = [(f"{name} {setting}", reason) for name, setting, reason in found.left_out]
        parts += [Text("\nCannot be run"), table(rows)]
    return Group(*parts)


def _tornado_table(bars: Sequence[Bar], most: float) -> RenderableType:
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column("lever", style="bold", no_wrap=True)
    for header in ("setting", "speed", "step time", "headroom", "slower | faster"):
        grid.add_column(header, no_wrap=True)
    for bar in bars:
        for index, effect in enumerate(bar.effects):
            grid.add_row(
                Text(bar.what if index == 0 else ""),
                Text(effect.setting),
                _change(effect.speed_change),
                seconds(effect.report.step_time_s),
                _headroom(effect.report),
                _bar(effect.speed_change, most),
            )
    return grid


def _change(share: float) -> str:
    return percent(share, signed=True) if abs(share) >= _NEGLIGIBLE else "0.0 %"


def _bar(change: float, most: float) -> TextBar:
    """From the middle to the right where it is faster, to the left where it is slower."""
    end = 0.5 + (change / most / 2 if most else 0.0)
    if change < 0:
        return TextBar(min(end, 0.5 - 1 / TextBar(0, 0).width), 0.5, "red")
    return TextBar(0.5, end, "green")


def _headroom(report: Report) -> str:
    memory = report.memory
    left = memory.capacity_bytes - memory.peak_bytes
    return gigabytes(left) if left >= 0 else f"lacks {gigabytes(-left)}"


def _present(rows: Sequence[Mapping[str, float]], order: Sequence[str]) -> list[str]:
    """Terms in which a row differs by more than a share of its largest."""
    largest = max((abs(value) for row in rows for value in row.values()), default=0.0)
    return [term for term in order if any(abs(row.get(term, 0.0)) > 1e-3 * largest for row in rows)]


def _short(term: str) -> str:
    return _SHORT.get(term, term)
