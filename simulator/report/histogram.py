"""How often values occur: bars over classes of equal width, with values of interest as lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.numeric import FloatArray
from simulator.report.svg import WIDTH, figure, horizontal_axis, line, rect, text, text_width, ticks

MAX_CLASSES: Final = 60
_LEFT, _RIGHT, _HEIGHT = 60.0, WIDTH - 30, 220.0
_LINE: Final = 15.0
_GAP: Final = 6.0


@dataclass(frozen=True, slots=True)
class Line:
    """A value of interest; ``css`` is a class of ``page.css``."""

    value: float
    words: str
    css: str = "axis"


def histogram(
    values: FloatArray, lines: Sequence[Line], name: str, shown: Callable[[float], str]
) -> str:
    """The drawing: about sqrt(n) classes, from the least to the most of values and lines.

    Args:
        values: [n], at least one.
        lines: drawn across, with their words above.
        name: of the quantity, with its unit.
        shown: a value as text.
    """
    ends = [float(values.min()), float(values.max()), *(one.value for one in lines)]
    low, high = min(ends), max(ends)
    if high <= low:
        low, high = 0.99 * low, 1.01 * high
    classes = min(MAX_CLASSES, max(5, round(len(values) ** 0.5)))
    counts, edges = np.histogram(values, bins=classes, range=(low, high))
    most = int(counts.max())
    rows = _label_rows(lines, low, high)
    top = 26.0 + _LINE * (max(rows) + 1 if rows else 0)
    bottom = top + _HEIGHT

    def y_of(count: float) -> float:
        return bottom - _HEIGHT * count / most

    marks: list[str] = []
    for count in [value for value in ticks(most, 5) if value == int(value)]:
        marks.append(line(_LEFT, y_of(count), _RIGHT, y_of(count), "guide"))
        marks.append(text(_LEFT - 8, y_of(count), f"{count:,.0f}", anchor="end", css="muted"))
    for count, start, end in zip(counts.tolist(), edges[:-1], edges[1:], strict=True):
        left, right = _x(start, low, high), _x(end, low, high)
        title = f"{shown(start)} to {shown(end)}: {count:,}"
        marks.append(
            rect(left, y_of(count), right - left - 1, bottom - y_of(count), "total", title=title)
        )
    marks.append(horizontal_axis(_LEFT, _RIGHT, bottom, high, shown, minimum=low))
    for one, row in zip(lines, rows, strict=True):
        x = _x(one.value, low, high)
        middle = 20.0 + _LINE * row
        marks.append(line(x, middle + _LINE / 2, x, bottom, one.css))
        marks.append(text(_inside(x, one.words), middle, one.words, anchor="middle", css="halo"))
    marks.append(text(_LEFT, bottom + 34, f"how many of {len(values):,}", css="muted"))
    marks.append(text(_RIGHT, bottom + 34, name, anchor="end", css="muted"))
    detail = "; ".join(f"{one.words}: {shown(one.value)}" for one in lines)
    return figure(bottom + 48, f"How often: {name}", *marks, detail=detail)


def _x(value: float, low: float, high: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * (value - low) / (high - low)


def _inside(x: float, words: str) -> float:
    """The middle of words that stay in the drawing, as near to ``x`` as can be."""
    half = text_width(words) / 2
    return min(max(x, half + 2), WIDTH - half - 2)


def _label_rows(lines: Sequence[Line], low: float, high: float) -> list[int]:
    """A row for the words of every line, such that none overlap."""
    ends: list[float] = []
    rows: dict[int, int] = {}
    for index in sorted(range(len(lines)), key=lambda i: lines[i].value):
        middle = _inside(_x(lines[index].value, low, high), lines[index].words)
        half = text_width(lines[index].words) / 2
        row = next((r for r, end in enumerate(ends) if middle - half > end + _GAP), len(ends))
        ends[row : row + 1] = [middle + half]
        rows[index] = row
    return [rows[index] for index in range(len(lines))]
