"""Horizontal bars with their words: quantities side by side, whole or cut into parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from simulator.report.breakdown import TIME_LABELS
from simulator.report.charts import term_css
from simulator.report.svg import (
    WIDTH,
    figure,
    legend,
    legend_height,
    line,
    rect,
    text,
    text_width,
)

_ROW, _HEIGHT = 26.0, 16.0
_EDGE: Final = 8.0
_MAX_LABEL: Final = 0.38 * WIDTH
"""Widest column of labels; longer ones are cut, and whole where the pointer rests."""
_LEGEND_GAP: Final = 6.0
_SPARE: Final = 1.1
"""Room for words at the right edge: digits are wider than ``text_width`` supposes."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar; ``title`` shows when the pointer rests on it."""

    value: float
    css: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        label: before it.
        parts: pieces from left to right, none negative.
        words: behind it.
        low, high: ends of its range; None where there is none.
        mark: another value that a short line shows; None where there is none.
    """

    label: str
    parts: Sequence[Part]
    words: str
    low: float | None = None
    high: float | None = None
    mark: float | None = None

    @property
    def end(self) -> float:
        """The largest value that is drawn of it."""
        whole = sum(part.value for part in self.parts)
        return max(whole, *(v for v in (self.low, self.high, self.mark) if v is not None), 0.0)


@dataclass(frozen=True, slots=True)
class Limit:
    """A value that all bars are held against, as a line."""

    value: float
    words: str


def bar_chart(
    bars: Sequence[Bar],
    label: str,
    *,
    meanings: Sequence[tuple[str, str]] = (),
    limit: Limit | None = None,
) -> str:
    """The drawing; nothing if there is nothing to draw.

    Args:
        bars: from the top.
        label: what they show.
        meanings: (css class, words) of the parts.
        limit: drawn across all of them.
    """
    longest = max([bar.end for bar in bars] + ([limit.value] if limit else []), default=0.0)
    if longest <= 0:
        return ""
    left = _EDGE * 2 + min(max(text_width(bar.label) for bar in bars), _MAX_LABEL)
    right = WIDTH - _EDGE * 2 - _SPARE * max(text_width(bar.words) for bar in bars)
    scale = (right - left) / longest
    top = legend_height(meanings, _EDGE) + (_LEGEND_GAP if meanings else 0.0)
    top += 20.0 if limit else 0.0
    bottom = top + _ROW * len(bars)
    marks = [legend(meanings, _EDGE, 9.0)]
    for row, bar in enumerate(bars):
        marks += _drawn(bar, left, top + _ROW * (row + 0.5), scale)
    if limit is not None:
        x = left + limit.value * scale
        marks.append(line(x, top - 6, x, bottom, "limit"))
        # The words stand where they do not leave the drawing.
        anchor = "end" if x + text_width(limit.words) / 2 > WIDTH - _EDGE else "middle"
        place = WIDTH - _EDGE if anchor == "end" else x
        marks.append(text(place, top - 14, limit.words, anchor=anchor, css="limit-label"))
    detail = "; ".join(f"{bar.label}: {bar.words}" for bar in bars)
    return figure(bottom + 4, label, *marks, detail=detail)


def _drawn(bar: Bar, left: float, middle: float, scale: float) -> list[str]:
    y, x = middle - _HEIGHT / 2, left
    marks = [text(left - _EDGE, middle, shortened(bar.label, left - 2 * _EDGE), anchor="end")]
    for part in bar.parts:
        title = part.title or f"{bar.label}: {bar.words}"
        marks.append(rect(x, y, part.value * scale, _HEIGHT, part.css, title=title))
        x += part.value * scale
    if bar.low is not None and bar.high is not None:
        ends = [left + value * scale for value in (bar.low, bar.high)]
        marks.append(line(ends[0], middle, ends[1], middle, "range"))
        marks += [line(end, middle - 4, end, middle + 4, "range") for end in ends]
    if bar.mark is not None:
        at = left + bar.mark * scale
        marks.append(line(at, y - 3, at, y + _HEIGHT + 3, "range"))
    marks.append(text(left + bar.end * scale + _EDGE, middle, bar.words))
    return marks


def shortened(words: str, width: float) -> str:
    """Words that are no wider, cut with an ellipsis where they would be."""
    if text_width(words) <= width + 1e-9:
        return words
    most = int(width / text_width("m"))
    return words[: max(most - 1, 1)] + "…"


def time_parts(terms: Mapping[str, float], words: str, shown: Callable[[float], str]) -> list[Part]:
    """The terms of a step time, in the colours of a report; those that take nothing are left out.

    Args:
        terms: of ``TIME_TERMS``.
        words: whose terms they are.
        shown: a value as text.
    """
    return [
        Part(
            terms[term],
            term_css("time", term, TIME_LABELS),
            f"{words}, {TIME_LABELS[term]}: {shown(terms[term])}",
        )
        for term in TIME_LABELS
        if terms.get(term, 0.0) > 0
    ]


def time_meanings(rows: Sequence[Mapping[str, float]]) -> list[tuple[str, str]]:
    """The legend of the terms that any row has."""
    return [
        (term_css("time", term, TIME_LABELS), words.removeprefix("exposed "))
        for term, words in TIME_LABELS.items()
        if any(row.get(term, 0.0) > 0 for row in rows)
    ]
