"""Points in a plane: one quantity over another, with ranges, labels and limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from simulator.report.svg import (
    WIDTH,
    element,
    escape,
    figure,
    horizontal_axis,
    legend,
    legend_height,
    line,
    text,
    text_width,
    ticks_between,
)

_LEFT, _RIGHT, _HEIGHT = 90.0, WIDTH - 30, 300.0
_RADIUS: Final = 4.5
_LINE: Final = 14.0
"""Height of a line of text."""
_HEADROOM: Final = 1.08
"""The largest value lies this far below the end of its axis."""
_MOST_TOLD: Final = 24
"""Points that the description lists."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What one direction shows.

    Attributes:
        name: in words, with its unit.
        shown: a value as text.
        limit: drawn as a line; None where there is none.
        by_factor: equal distances are equal factors, as for numbers of devices that double; all
            values are above 0.
        from_zero: the axis begins at 0, which lets distances be compared; else it spans the values.
    """

    name: str
    shown: Callable[[float], str]
    limit: float | None = None
    by_factor: bool = False
    from_zero: bool = True

    def ends(self, values: Sequence[float]) -> tuple[float, float]:
        """Where the axis begins and ends: values and limit are inside, not at the edge."""
        known = [*values, *([] if self.limit is None else [self.limit])]
        low, high = min(known), max(known)
        if self.by_factor:
            return low / _HEADROOM, high * _HEADROOM
        if self.from_zero:
            return 0.0, _HEADROOM * high or 1.0
        margin = (_HEADROOM - 1) * (high - low or high or 1.0)
        return max(0.0, low - margin), high + margin


@dataclass(frozen=True, slots=True)
class Mark:
    """One point; ``low`` and ``high`` bound ``y``; ``css`` is a class of ``page.css``."""

    x: float
    y: float
    label: str
    css: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class _Box:
    """Where something is drawn."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def scatter(
    marks: Sequence[Mark],
    horizontal: Axis,
    vertical: Axis,
    *,
    meanings: Sequence[tuple[str, str]] = (),
) -> str:
    """The drawing.

    A label that finds no free place is left out; the pointer shows it.

    Args:
        marks: points, those whose labels matter most first.
        horizontal: the axis below.
        vertical: the axis on the left.
        meanings: (css class, words) of the colours.
    """
    heights = [v for mark in marks for v in (mark.y, mark.low, mark.high) if v is not None]
    y_low, y_high = vertical.ends(heights)
    top = 30.0 + legend_height(meanings, _LEFT)
    bottom = top + _HEIGHT
    x_of = _across(marks, horizontal)

    scaled = math.log if vertical.by_factor else float

    def y_of(value: float) -> float:
        share = (scaled(value) - scaled(y_low)) / (scaled(y_high) - scaled(y_low))
        return bottom - _HEIGHT * share

    parts = [legend(meanings, _LEFT, 9.0)]
    ticks = _factors_between if vertical.by_factor else ticks_between
    for value in ticks(y_low, y_high):
        parts.append(line(_LEFT, y_of(value), _RIGHT, y_of(value), "guide"))
        shown = vertical.shown(value)
        parts.append(text(_LEFT - 8, y_of(value), shown, anchor="end", css="muted"))
    parts.append(_bottom_axis(marks, horizontal, x_of, bottom))
    if horizontal.limit is not None:
        at = x_of(horizontal.limit)
        parts.append(line(at, top, at, bottom, "limit"))
    if vertical.limit is not None:
        parts.append(line(_LEFT, y_of(vertical.limit), _RIGHT, y_of(vertical.limit), "limit"))
    page = _Box(_LEFT, top - _LINE / 2, WIDTH, bottom)
    parts += _points(marks, (horizontal, vertical), (x_of, y_of), page)
    parts.append(text(_LEFT, top - 18, vertical.name, css="muted"))
    parts.append(text(_RIGHT, bottom + 34, horizontal.name, anchor="end", css="muted"))
    told = [f"{m.label}: {_told(m, horizontal, vertical)}" for m in marks[:_MOST_TOLD]]
    name = f"{vertical.name} over {horizontal.name}"
    return figure(bottom + 48, name, *parts, detail="; ".join(told))


def _factors_between(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten from ``low`` to ``high``."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    round_values = (m * 10.0**power for power in powers for m in (1, 2, 5))
    return [value for value in round_values if low <= value <= high]


def _told(mark: Mark, horizontal: Axis, vertical: Axis) -> str:
    return f"{vertical.shown(mark.y)} at {horizontal.shown(mark.x)}"


def _across(marks: Sequence[Mark], axis: Axis) -> Callable[[float], float]:
    """Where a value lies from left to right."""
    values = [mark.x for mark in marks]
    if not axis.by_factor:
        low, high = axis.ends(values)
        return lambda value: _LEFT + (_RIGHT - _LEFT) * (value - low) / (high - low)
    values += [] if axis.limit is None else [axis.limit]
    first, last = math.log(min(values)), math.log(max(values))
    inner = _RIGHT - _LEFT - 100

    def place(value: float) -> float:
        share = (math.log(value) - first) / (last - first) if last > first else 0.5
        return _LEFT + 40 + inner * share

    return place


def _bottom_axis(
    marks: Sequence[Mark], axis: Axis, x_of: Callable[[float], float], bottom: float
) -> str:
    if not axis.by_factor:
        low, high = axis.ends([mark.x for mark in marks])
        return horizontal_axis(_LEFT, _RIGHT, bottom, high, axis.shown, minimum=low)
    drawn = [line(_LEFT, bottom, _RIGHT, bottom, "axis")]
    free = 0.0
    for value in sorted({mark.x for mark in marks}):
        x, words = x_of(value), axis.shown(value)
        drawn.append(line(x, bottom, x, bottom + 4, "axis"))
        if x - text_width(words) / 2 > free:
            drawn.append(text(x, bottom + 14, words, anchor="middle", css="muted"))
            free = x + text_width(words) / 2 + 6
    return "".join(drawn)


def _points(
    marks: Sequence[Mark],
    axes: tuple[Axis, Axis],
    places: tuple[Callable[[float], float], Callable[[float], float]],
    page: _Box,
) -> list[str]:
    """Ranges below points below labels; labels keep clear of points and of one another."""
    x_of, y_of = places
    spots = [(x_of(mark.x), y_of(mark.y)) for mark in marks]
    taken = [_Box(x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS) for x, y in spots]
    if axes[0].limit is not None:
        taken.append(_upright(x_of(axes[0].limit), page.top, page.bottom))
    ranges: list[str] = []
    for mark, (x, _) in zip(marks, spots, strict=True):
        if mark.low is not None and mark.high is not None:
            ranges.append(line(x, y_of(mark.low), x, y_of(mark.high), "axis"))
            taken.append(_upright(x, y_of(mark.high), y_of(mark.low)))
    circles = [
        element(
            "circle",
            element("title", escape(f"{mark.label}: {_told(mark, *axes)}")),
            cx=x,
            cy=y,
            r=_RADIUS,
            class_=mark.css,
        )
        for mark, (x, y) in zip(marks, spots, strict=True)
    ]
    labels: list[str] = []
    for mark, (x, y) in zip(marks, spots, strict=True):
        free = _free_place(mark.label, x, y, taken, page)
        if free is not None:
            box, label = free
            taken.append(box)
            labels.append(label)
    return [*ranges, *circles, *labels]


def _upright(x: float, top: float, bottom: float) -> _Box:
    """A vertical line."""
    return _Box(x - 2, top, x + 2, bottom)


def _free_place(
    label: str, x: float, y: float, taken: Sequence[_Box], page: _Box
) -> tuple[_Box, str] | None:
    """A place beside a point where a label meets nothing: right above first."""
    width = text_width(label)
    for middle in (y - 9, y + 10, y):
        for anchor, left in (("start", x + 9), ("end", x - 9 - width)):
            box = _Box(left, middle - _LINE / 2, left + width, middle + _LINE / 2)
            inside = page.left <= box.left and box.right <= page.right
            inside = inside and page.top <= box.top and box.bottom <= page.bottom
            if inside and not any(box.meets(other) for other in taken):
                place = x + 9 if anchor == "start" else x - 9
                return box, text(place, middle, label, anchor=anchor, css="halo")
    return None
