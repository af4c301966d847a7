"""Drawings: efficiency over devices, what eats it, and a tornado."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from simulator.report.bars import Bar as Row
from simulator.report.bars import Part, bar_chart, shortened, time_meanings, time_parts
from simulator.report.breakdown import TIME_LABELS
from simulator.report.svg import (
    WIDTH,
    coordinate,
    element,
    escape,
    figure,
    legend,
    line,
    rect,
    text,
    text_width,
)
from simulator.units import percent
from simulator.whatif.comparing import Comparison
from simulator.whatif.scaling import Curve, ScalePoint
from simulator.whatif.sensitivity import Bar, Sensitivity
from simulator.whatif.terms import device_seconds_per_token

_LEFT: Final = 70.0
_RIGHT: Final = WIDTH - 30
_TOP: Final = 30.0
_BOTTOM: Final = 270.0
_STYLES: Final = ("time-compute", "time-pp-comm", "time-optimizer")
"""A colour per curve."""
_INVISIBLE: Final = 1e-4
"""Share of the efficiency that no point loses to a term which is not drawn."""
_MILLION: Final = 1e6


def efficiency_chart(curves: Sequence[Curve]) -> str:
    """Efficiency of every curve over the number of devices, which is logarithmic."""
    counts = sorted({point.devices for curve in curves for point in curve.points})
    if not counts:
        return ""
    most = max(1.0, *(p.efficiency for curve in curves for p in curve.points))
    marks = _grid(counts, most)
    for css, curve in zip(_STYLES, curves, strict=False):
        spots = [
            (_x(point.devices, counts), _y(point.efficiency, most), point) for point in curve.points
        ]
        path = "".join(
            f"{'L' if index else 'M'}{coordinate(x)} {coordinate(y)}"
            for index, (x, y, _) in enumerate(spots)
        )
        marks.append(element("path", d=path, class_=f"curve line-{css}"))
        marks += [_dot(x, y, css, f"{curve.mode}, {_told(point)}") for x, y, point in spots]
    marks.append(
        legend([(css, c.mode) for css, c in zip(_STYLES, curves, strict=False)], _LEFT, 10)
    )
    told = "; ".join(f"{curve.mode}, {_told(p)}" for curve in curves for p in curve.points)
    label = "Scaling efficiency over the number of devices"
    return figure(_BOTTOM + 44, label, *marks, detail=told)


def loss_chart(curve: Curve) -> str:
    """A bar per point: the efficiency, and the terms that take the rest of it."""
    losing = [{t: max(v, 0.0) for t, v in p.losses.items()} for p in curve.points]
    terms = [t for t in TIME_LABELS if any(loss.get(t, 0.0) > _INVISIBLE for loss in losing)]
    shown = [{term: loss[term] for term in terms} for loss in losing]
    bars = [
        Row(
            f"{point.devices:,}",
            [
                Part(point.efficiency, "idle", _told(point)),
                *time_parts(loss, f"{point.devices:,} devices", percent),
            ],
            percent(point.efficiency),
        )
        for point, loss in zip(curve.points, shown, strict=True)
    ]
    label = f"What eats the efficiency, {curve.mode} scaling"
    meanings = [("idle", "efficiency"), *time_meanings(shown)]
    return bar_chart(bars, label, meanings=meanings)


def comparison_chart(found: Comparison) -> str:
    """A bar per candidate: what ``time_unit`` says, cut into the terms of the step."""
    costs = [
        candidate.report.time
        if found.same_work
        else {t: _MILLION * v for t, v in device_seconds_per_token(candidate.report).items()}
        for candidate in found.candidates
    ]
    bars = [
        Row(
            candidate.label,
            time_parts(cost, candidate.label, "{:,.4g} s".format),
            f"{sum(cost.values()):,.4g} s",
        )
        for candidate, cost in zip(found.candidates, costs, strict=True)
    ]
    return bar_chart(bars, time_unit(found), meanings=time_meanings(costs))


def time_unit(found: Comparison) -> str:
    """Seconds where all do the same work on as many devices, else device-seconds per token."""
    return "Seconds a step" if found.same_work else "Device-seconds per million tokens"


def tornado_chart(found: Sensitivity) -> str:
    """A bar per lever, from its slowest to its fastest setting, around the base."""
    if not found.bars:
        return ""
    row, left = 30.0, 330.0
    most = max(abs(e.speed_change) for bar in found.bars for e in bar.effects) or 1.0
    centre, scale = (left + _RIGHT) / 2, ((_RIGHT - left) / 2 - 80) / most
    marks: list[str] = []
    for index, bar in enumerate(found.bars):
        middle = row * (index + 0.5)
        marks.append(text(8, middle, shortened(bar.what, left - 16)))
        marks += _around(centre, middle, scale, bar)
    bottom = row * len(found.bars)
    marks.append(line(centre, 0, centre, bottom, "axis"))
    told = "; ".join(
        f"{bar.what} {effect.setting}: {percent(effect.speed_change, signed=True)}"
        for bar in found.bars
        for effect in bar.effects
    )
    label = "Tokens per second and device against the base"
    return figure(bottom + 4, label, *marks, detail=told)


def _around(centre: float, middle: float, scale: float, bar: Bar) -> list[str]:
    """The settings of a lever, each from the base to its speed; words at the two ends."""
    height = 16.0
    marks: list[str] = []
    ordered = sorted(bar.effects, key=lambda effect: effect.speed_change)
    for effect in sorted(ordered, key=lambda effect: -abs(effect.speed_change)):
        change = effect.speed_change
        x = centre + change * scale
        words = f"{effect.setting} {percent(change, signed=True)}"
        css = "loss" if change < 0 else "gain"
        wide = abs(x - centre)
        marks.append(rect(min(x, centre), middle - height / 2, wide, height, css, title=words))
        if effect is ordered[0] and change < 0:
            marks.append(text(x - 6, middle, words, anchor="end"))
        elif effect is ordered[-1] and change > 0:
            marks.append(text(x + 6, middle, words))
    if not any(effect.speed_change for effect in ordered):
        marks.append(text(centre + 6, middle, "no change", css="muted"))
    return marks


def _told(point: ScalePoint) -> str:
    return f"{point.devices:,} devices: {percent(point.efficiency)}"


def _dot(x: float, y: float, css: str, title: str) -> str:
    tip = element("title", escape(title))
    return element("circle", tip, cx=x, cy=y, r=4.0, class_=css)


def _grid(counts: Sequence[int], most: float) -> list[str]:
    marks: list[str] = []
    for tenth in range(0, math.floor(most * 10 + 1e-9) + 1, 2):
        y = _y(tenth / 10, most)
        marks.append(line(_LEFT, y, _RIGHT, y, "guide"))
        marks.append(text(_LEFT - 8, y, percent(tenth / 10, digits=0), anchor="end", css="muted"))
    free = 0.0
    for count in counts:
        x, words = _x(count, counts), f"{count:,}"
        marks.append(line(x, _BOTTOM, x, _BOTTOM + 4, "axis"))
        if x - text_width(words) / 2 > free:
            marks.append(text(x, _BOTTOM + 14, words, anchor="middle", css="muted"))
            free = x + text_width(words) / 2 + 6
    marks.append(line(_LEFT, _BOTTOM, _RIGHT, _BOTTOM, "axis"))
    marks.append(text((_LEFT + _RIGHT) / 2, _BOTTOM + 32, "devices", anchor="middle", css="muted"))
    return marks


def _x(count: int, counts: Sequence[int]) -> float:
    decades = math.log(counts[-1] / counts[0])
    share = math.log(count / counts[0]) / decades if decades else 0.5
    return _LEFT + 30 + (_RIGHT - _LEFT - 60) * share


def _y(efficiency: float, most: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * efficiency / most
