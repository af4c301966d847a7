"""Points in a plane: one quantity over another, with ranges, labels and limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from simulator.report.svg import (
    WIDTH,
    element,
    escape,
    figure,
    horizontal_axis,
    line,
    text,
    text_width,
    ticks,
)

_LEFT, _RIGHT, _TOP, _BOTTOM = 90.0, WIDTH - 30, 30.0, 330.0
_RADIUS: Final = 4.5
_HEADROOM: Final = 1.08
"""The largest value lies this far below the end of its axis."""


@dataclass(frozen=True, slots=True)
class Axis:
    """What one direction shows.

    Attributes:
        name: in words, with its unit.
        shown: a value as text.
        limit: drawn as a line; None where there is none.
    """

    name: str
    shown: Callable[[float], str]
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """One point; ``low`` and ``high`` bound ``y``; ``css`` is a class of ``page.css``."""

    x: float
    y: float
    label: str
    css: str
    low: float | None = None
    high: float | None = None


def scatter(marks: Sequence[Mark], horizontal: Axis, vertical: Axis) -> str:
    """The drawing; both axes begin at 0, which lets distances be compared."""
    x_end = _HEADROOM * max([horizontal.limit or 0.0, *(mark.x for mark in marks)])
    y_end = _HEADROOM * max([vertical.limit or 0.0, *(mark.high or mark.y for mark in marks)])

    def x_of(value: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * value / x_end

    def y_of(value: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * value / y_end

    parts: list[str] = []
    for value in ticks(y_end):
        parts.append(line(_LEFT, y_of(value), _RIGHT, y_of(value), "guide"))
        shown = vertical.shown(value)
        parts.append(text(_LEFT - 8, y_of(value), shown, anchor="end", css="muted"))
    parts.append(horizontal_axis(_LEFT, _RIGHT, _BOTTOM, x_end, horizontal.shown))
    if horizontal.limit is not None:
        parts.append(line(x_of(horizontal.limit), _TOP, x_of(horizontal.limit), _BOTTOM, "limit"))
    if vertical.limit is not None:
        parts.append(line(_LEFT, y_of(vertical.limit), _RIGHT, y_of(vertical.limit), "limit"))
    parts += [_point(mark, x_of(mark.x), y_of, horizontal, vertical) for mark in marks]
    parts.append(text(_LEFT, 12, vertical.name, css="muted"))
    parts.append(text(_RIGHT, _BOTTOM + 34, horizontal.name, anchor="end", css="muted"))
    return figure(_BOTTOM + 48, f"{vertical.name} over {horizontal.name}", *parts)


def _point(
    mark: Mark, x: float, y_of: Callable[[float], float], horizontal: Axis, vertical: Axis
) -> str:
    y = y_of(mark.y)
    title = f"{mark.label}: {vertical.shown(mark.y)} at {horizontal.shown(mark.x)}"
    tip = element("title", escape(title))
    parts = [element("circle", tip, cx=x, cy=y, r=_RADIUS, class_=mark.css)]
    if mark.low is not None and mark.high is not None:
        parts.insert(0, line(x, y_of(mark.low), x, y_of(mark.high), "axis"))
    # A label that would leave the drawing goes to the left of its point.
    is_last = x + 10 + text_width(mark.label) > WIDTH
    place, anchor = (x - 9, "end") if is_last else (x + 9, "start")
    parts.append(text(place, y - 8, mark.label, anchor=anchor, css="halo"))
    return "".join(parts)
