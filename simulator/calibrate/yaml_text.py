"""Changes single entries of a YAML file as text, so that comments and order stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from simulator.spec.yaml_file import parse_yaml
from simulator.uncertainty import AXES, Region


def with_entry(text: str, key: str, entry: str) -> str:
    """The text with a top-level key replaced, or added at the end.

    Args:
        text: of a file whose top level is a mapping in block style.
        key: at the top level.
        entry: the whole entry, ``key: ...``, in as many lines as it needs.
    """
    lines = text.splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith(f"{key}:")), None)
    new = entry.rstrip("\n").splitlines()
    if first is None:
        gap = [""] if len(new) > 1 and lines and lines[-1] else []
        return "\n".join([*lines, *gap, *new]) + "\n"
    end = first + 1
    while end < len(lines) and (lines[end].startswith((" ", "\t")) or lines[end] == ""):
        end += 1
    while lines[end - 1] == "":
        end -= 1  # blank lines before the next entry are no part of this one
    return "\n".join([*lines[:first], *new, *lines[end:]]) + "\n"


def quoted(text: str) -> str:
    """A double-quoted scalar."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def figure(key: str, value: float, unit: str, source: str) -> str:
    """``key: {value: 1.23, source: "..."}``; seconds are written in milliseconds."""
    number = f"{value:.4g}"
    shown = quoted(f"{1e3 * value:.4g} ms") if unit == "s" else number
    return f"{key}: {{value: {shown}, source: {quoted(source)}}}"


def listed(names: tuple[str, ...]) -> str:
    """``[a, b]``."""
    return f"[{', '.join(names)}]"


def region_lines(regions: Mapping[str, Region], rows: Mapping[str, int]) -> list[str]:
    """One line per accelerator."""
    lines: list[str] = []
    for name, region in regions.items():
        bounds = ", ".join(
            f"{axis}: [{low:.6g}, {high:.6g}]"
            for axis, low, high in zip(AXES, region.low, region.high, strict=True)
        )
        lines.append(f"    {name}: {{rows: {rows[name]}, {bounds}}}")
    return lines


def remark_of(text: str, key: str) -> str:
    """What the source of a figure says after where it was fitted, ``...): remark``."""
    figures = cast("dict[str, object]", parse_yaml(text, key))
    figure = figures.get(key)
    if not isinstance(figure, dict):
        return ""
    source = cast("dict[str, object]", figure).get("source", "")
    return str(source).partition("): ")[2]
