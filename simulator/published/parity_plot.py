"""Predicted against measured step time or memory as a self-contained SVG drawing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from simulator.published.results import RowResult
from simulator.report.breakdown import gigabytes
from simulator.units import format_seconds

SIZE_PX: Final = 560
_MARGIN_PX: Final = 64
_BAND: Final = 1.2
"""The drawn band holds predictions within a factor of 1.2, about 20 %."""


@dataclass(frozen=True, slots=True)
class _Point:
    measured: float
    predicted: float
    row: RowResult


def time_parity_plot(rows: Sequence[RowResult]) -> str:
    """Step times of all rows that have both; empty text when there is none."""
    points = [
        _Point(row.measured_step_time_s, row.predicted_step_time_s, row)
        for row in rows
        if row.measured_step_time_s and row.predicted_step_time_s
    ]
    return _parity_plot(points, "step time", format_seconds)


def memory_parity_plot(rows: Sequence[RowResult]) -> str:
    """Peak memory of all rows that have both; empty text when there is none."""
    points = [
        _Point(row.measured_memory_bytes, row.predicted_memory_bytes, row)
        for row in rows
        if row.measured_memory_bytes and row.predicted_memory_bytes
    ]
    return _parity_plot(points, "peak memory", gigabytes)


def _parity_plot(points: Sequence[_Point], what: str, write: Callable[[float], str]) -> str:
    """A log-log scatter."""
    if not points:
        return ""
    values = [value for point in points for value in (point.measured, point.predicted)]
    low = math.floor(math.log10(min(values)))
    high = math.ceil(math.log10(max(values)))
    axis = _Axis(low, max(high, low + 1))
    dots = "\n".join(_dot(axis, point, write) for point in points)
    return (
        f'<svg viewBox="0 0 {SIZE_PX} {SIZE_PX}" role="img" class="parity" '
        f'aria-label="Predicted against measured {what}, both logarithmic">\n'
        f"{_band(axis)}\n{_grid(axis, write)}\n{dots}\n"
        f'<text x="{SIZE_PX / 2:.0f}" y="{SIZE_PX - 14}" text-anchor="middle">'
        f"measured {what}</text>\n"
        f'<text transform="translate(16 {SIZE_PX / 2:.0f}) rotate(-90)" text-anchor="middle">'
        f"predicted {what}</text>\n</svg>"
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    """Both axes: decades from ``10**low`` to ``10**high``."""

    low: int
    high: int

    def x(self, value: float) -> float:
        """Pixels from the left."""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return _MARGIN_PX + share * (SIZE_PX - 1.5 * _MARGIN_PX)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return SIZE_PX - self.x(value)


def _dot(axis: _Axis, point: _Point, write: Callable[[float], str]) -> str:
    row = point.row
    label = (
        f"{row.source} {row.row_id}: measured {write(point.measured)}, "
        f"predicted {write(point.predicted)}"
    )
    return (
        f'<circle cx="{axis.x(point.measured):.1f}" cy="{axis.y(point.predicted):.1f}" r="2.4" '
        f'class="{row.role}"><title>{escape(label)}</title></circle>'
    )


def _band(axis: _Axis) -> str:
    """The diagonal and the band of ``_BAND`` around it, cut off at the corners."""
    start, end = 10.0**axis.low, 10.0**axis.high
    corners = (
        (start, start),
        (start, start * _BAND),
        (end / _BAND, end),
        (end, end),
        (end, end / _BAND),
        (start * _BAND, start),
    )
    path = " ".join(f"{axis.x(a):.1f},{axis.y(b):.1f}" for a, b in corners)
    return (
        f'<polygon points="{path}" class="band"/>'
        f'<line x1="{axis.x(start):.1f}" y1="{axis.y(start):.1f}" '
        f'x2="{axis.x(end):.1f}" y2="{axis.y(end):.1f}" class="diagonal"/>'
    )


def _grid(axis: _Axis, write: Callable[[float], str]) -> str:
    lines = list[str]()
    first, last = 10.0**axis.low, 10.0**axis.high
    for decade in range(axis.low, axis.high + 1):
        value = 10.0**decade
        x, y, label = axis.x(value), axis.y(value), write(value)
        lines += [
            f'<line x1="{x:.1f}" y1="{axis.y(first):.1f}" x2="{x:.1f}" y2="{axis.y(last):.1f}" '
            'class="grid"/>',
            f'<line x1="{axis.x(first):.1f}" y1="{y:.1f}" x2="{axis.x(last):.1f}" y2="{y:.1f}" '
            'class="grid"/>',
            f'<text x="{x:.1f}" y="{axis.y(first) + 16:.1f}" text-anchor="middle">{label}</text>',
            f'<text x="{axis.x(first) - 6:.1f}" y="{y + 4:.1f}" text-anchor="end">{label}</text>',
        ]
    return "\n".join(lines)
