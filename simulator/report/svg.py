"""Marks of a drawing: elements, text, rectangles, axes. Everything written into one is escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from typing import Final

WIDTH: Final = 960.0
"""Width of every figure in user units; the page scales it."""
LEGEND_ROW: Final = 18.0
"""Height of a row of a legend."""
_FONT_PX: Final = 12.0


def escape(text: str) -> str:
    """Text that is safe between tags and inside a quoted attribute."""
    return html.escape(text, quote=True)


def element(tag: str, *children: str, **attributes: str | float) -> str:
    """``<tag attribute="...">children</tag>``.

    Args:
        tag: name of the element.
        children: markup; escape plain text before.
        attributes: values; ``_`` in a name becomes ``-`` and a trailing one is dropped, so
            ``class_`` and ``stroke_width`` can be written.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for name, value in attributes.items()
        if value != ""
    )
    return f"<{tag}{written}>{''.join(children)}</{tag}>"


def _value(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else coordinate(value)


def coordinate(value: float) -> str:
    """A length with at most two decimals: ``12.5``, ``7``."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def text(x: float, y: float, content: str, *, anchor: str = "start", css: str = "") -> str:
    """One line of text; ``y`` is its middle."""
    return element(
        "text",
        escape(content),
        x=x,
        y=y,
        class_=css,
        text_anchor=anchor,
        dominant_baseline="central",
    )


def rect(x: float, y: float, width: float, height: float, css: str, *, title: str = "") -> str:
    """A rectangle; ``title`` shows when the pointer rests on it."""
    tip = element("title", escape(title)) if title else ""
    return element("rect", tip, x=x, y=y, width=max(width, 0.0), height=height, class_=css)


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=css)


def figure(height: float, label: str, *body: str, detail: str = "") -> str:
    """A drawing of ``WIDTH`` by ``height``.

    Args:
        height: in user units.
        label: what is drawn, for those who do not see it.
        body: marks.
        detail: what the drawing says, in words.
    """
    return element(
        "svg",
        element("title", escape(label)),
        element("desc", escape(detail)) if detail else "",
        *body,
        viewBox=f"0 0 {coordinate(WIDTH)} {coordinate(height)}",
        role="img",
        aria_label=label,
    )


def text_width(content: str) -> float:
    """About how wide a line of text is: system fonts take 0.56 em per character on average."""
    return 0.56 * _FONT_PX * len(content)


def legend(items: Sequence[tuple[str, str]], x: float, y: float) -> str:
    """Coloured squares with their meaning; ``items`` are (css class, words), ``y`` the first row.

    What does not fit goes into another row, ``legend_height`` says how many.
    """
    marks: list[str] = []
    for row, shown in enumerate(_legend_rows(items, x)):
        place, middle = x, y + row * LEGEND_ROW
        for css, words in shown:
            marks.append(rect(place, middle - 5, 10, 10, css))
            marks.append(text(place + 15, middle, words))
            place += _legend_width(words)
    return "".join(marks)


def legend_height(items: Sequence[tuple[str, str]], x: float) -> float:
    """Height of a legend that begins at ``x``."""
    return LEGEND_ROW * len(_legend_rows(items, x))


def _legend_width(words: str) -> float:
    return 33 + text_width(words)


def _legend_rows(items: Sequence[tuple[str, str]], x: float) -> list[list[tuple[str, str]]]:
    rows: list[list[tuple[str, str]]] = []
    right = WIDTH
    for item in items:
        width = _legend_width(item[1])
        if right + width - 18 > WIDTH:
            rows.append([])
            right = x
        rows[-1].append(item)
        right += width
    return rows


def ticks(maximum: float, count: int = 6) -> list[float]:
    """About ``count`` round values from 0 to ``maximum``."""
    return ticks_between(0.0, maximum, count)


def ticks_between(low: float, high: float, count: int = 6) -> list[float]:
    """About ``count`` round values from ``low`` to ``high``; ``low`` alone if that is no range."""
    if high <= low or not math.isfinite(high - low):
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step * (1 - 1e-9)), int(high / step * (1 + 1e-9))
    return [i * step for i in range(first, last + 1)]


def horizontal_axis(
    left: float,
    right: float,
    y: float,
    maximum: float,
    label: Callable[[float], str],
    minimum: float = 0.0,
) -> str:
    """An axis from ``minimum`` to ``maximum`` below ``y``, with ticks and their labels."""
    marks = [line(left, y, right, y, "axis")]
    span = maximum - minimum
    for value in ticks_between(minimum, maximum):
        x = left + (right - left) * (value - minimum) / span if span > 0 else left
        marks.append(line(x, y, x, y + 4, "axis"))
        marks.append(text(x, y + 14, label(value), anchor="middle", css="muted"))
    return "".join(marks)
