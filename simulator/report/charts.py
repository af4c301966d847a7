"""The other drawings of a page: time, the way from peak to MFU, memory by rank and over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from simulator.report.breakdown import (
    MEMORY_LABELS,
    TIME_LABELS,
    fraction,
    gigabytes,
    memory_terms,
    seconds,
    time_terms,
    waterfall,
)
from simulator.report.report import MemoryReport, RankMemory, Report
from simulator.report.svg import (
    WIDTH,
    coordinate,
    element,
    escape,
    figure,
    horizontal_axis,
    line,
    rect,
    text,
    text_width,
    ticks,
)
from simulator.units import percent

MAX_CLASSES: Final = 24
"""Rank classes drawn; beyond, those with the highest peaks."""
_LEFT: Final = 220.0
_RIGHT: Final = WIDTH - 90


def term_css(family: str, term: str, labels: Mapping[str, str]) -> str:
    """Class that colours a term; a term without a colour of its own is grey."""
    return f"{family}-{term.replace('_', '-')}" if term in labels else "other-term"


def time_bar(report: Report) -> str:
    """The step as one bar, cut into its terms."""
    height = 34.0
    # A term may exceed the step only through rounding.
    scale = fraction(WIDTH, max(sum(v for _, v in time_terms(report)), report.step_time_s))
    marks: list[str] = []
    x = 0.0
    for term, value in time_terms(report):
        width, share = value * scale, percent(fraction(value, report.step_time_s))
        label = TIME_LABELS.get(term, term)
        css = term_css("time", term, TIME_LABELS)
        marks.append(rect(x, 0, width, height, css, title=f"{label}: {seconds(value)}, {share}"))
        for words in (f"{label} {share}", share):
            if width > text_width(words) + 6:
                middle = x + width / 2
                marks.append(text(middle, height / 2, words, anchor="middle", css=f"on on-{css}"))
                break
        x += width
    return figure(height, "Where the time of a step goes", *marks)


def waterfall_chart(report: Report) -> str:
    """Every loss between the dense peak and the achieved MFU as a hanging bar."""
    row_height, bar_height = 26.0, 16.0
    steps = waterfall(report)
    scale = _RIGHT - _LEFT
    marks: list[str] = []
    for row, step in enumerate(steps):
        middle = row_height * (row + 0.5)
        low, high = sorted((step.before, step.after))
        shown = percent(step.after) if step.is_total else percent(step.change, signed=True)
        css = "total" if step.is_total else "loss" if step.change < 0 else "gain"
        x, width = _LEFT + low * scale, (high - low) * scale
        marks.append(text(_LEFT - 8, middle, step.name, anchor="end"))
        marks.append(
            rect(x, middle - bar_height / 2, width, bar_height, css, title=f"{step.name}: {shown}")
        )
        marks.append(text(x + width + 6, middle, shown))
        if row + 1 < len(steps):
            level = _LEFT + step.after * scale
            below = middle + row_height - bar_height / 2
            marks.append(line(level, middle + bar_height / 2, level, below, "guide"))
    return figure(row_height * len(steps), "From the dense peak to the achieved MFU", *marks)


def memory_bars(memory: MemoryReport) -> str:
    """Every rank class as a bar of its terms, with the capacity as a line."""
    row_height, bar_height, top = 26.0, 16.0, 24.0
    classes = shown_classes(memory)
    most_bytes = 1.02 * max([memory.capacity_bytes, *(c.peak_bytes for c in classes)])
    scale = fraction(_RIGHT - _LEFT, most_bytes)
    marks: list[str] = []
    for row, rank in enumerate(classes):
        middle = top + row_height * (row + 0.5)
        marks.append(text(_LEFT - 8, middle, rank.rank_class, anchor="end"))
        x = _LEFT
        for term, value in memory_terms(rank):
            title = f"{rank.rank_class}, {MEMORY_LABELS.get(term, term)}: {gigabytes(value)}"
            css = term_css("memory", term, MEMORY_LABELS)
            marks.append(
                rect(x, middle - bar_height / 2, value * scale, bar_height, css, title=title)
            )
            x += value * scale
        marks.append(text(max(x + 6, _LEFT), middle, gigabytes(rank.peak_bytes), css="halo"))
    bottom = top + row_height * len(classes)
    capacity = _LEFT + memory.capacity_bytes * scale
    marks.append(line(capacity, top - 6, capacity, bottom, "limit-halo"))
    marks.append(line(capacity, top - 6, capacity, bottom, "limit"))
    words = f"capacity {gigabytes(memory.capacity_bytes)}"
    marks.append(text(capacity, top - 14, words, anchor="end", css="limit-label"))
    marks.append(horizontal_axis(_LEFT, _RIGHT, bottom, most_bytes, gigabytes))
    return figure(bottom + 26, "Memory of every rank class at its peak", *marks)


def shown_classes(memory: MemoryReport) -> list[RankMemory]:
    """The classes with the highest peaks, in the order of the report."""
    classes = memory.rank_classes
    by_peak = sorted(range(len(classes)), key=lambda i: (-classes[i].peak_bytes, i))
    return [classes[i] for i in sorted(by_peak[:MAX_CLASSES])]


def memory_history(rank: RankMemory, capacity_bytes: float, step_time_s: float) -> str:
    """Memory of one rank class over the step, with the capacity as a line."""
    left, right, top, bottom = 80.0, WIDTH - 30, 24.0, 224.0
    most_bytes = 1.05 * max(capacity_bytes, *rank.history_bytes)
    end_s = max(step_time_s, rank.history_s[-1])

    def x_of(time_s: float) -> float:
        return left + (right - left) * fraction(time_s, end_s)

    def y_of(held_bytes: float) -> float:
        return bottom - (bottom - top) * fraction(held_bytes, most_bytes)

    marks: list[str] = []
    for value in ticks(most_bytes, 5):
        marks.append(line(left, y_of(value), right, y_of(value), "guide"))
        marks.append(text(left - 8, y_of(value), gigabytes(value), anchor="end", css="muted"))
    path = f"M{coordinate(x_of(rank.history_s[0]))} {coordinate(y_of(rank.history_bytes[0]))}"
    for time_s, held_bytes in zip(rank.history_s[1:], rank.history_bytes[1:], strict=True):
        path += f"H{coordinate(x_of(time_s))}V{coordinate(y_of(held_bytes))}"
    path += f"H{coordinate(right)}"
    title = element("title", escape(f"{rank.rank_class}: {gigabytes(rank.peak_bytes)} at its peak"))
    around = f"{path}V{coordinate(bottom)}H{coordinate(x_of(rank.history_s[0]))}Z"
    marks.append(element("path", title, d=around, class_="area"))
    marks.append(element("path", d=path, class_="curve"))
    limit = y_of(capacity_bytes)
    marks.append(line(left, limit, right, limit, "limit"))
    words = f"capacity {gigabytes(capacity_bytes)}"
    marks.append(text(right, limit - 9, words, anchor="end", css="limit-label"))
    marks.append(horizontal_axis(left, right, bottom, end_s, seconds))
    return figure(bottom + 26, f"Memory of {rank.rank_class} over the step", *marks)
