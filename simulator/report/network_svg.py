"""Drawings of a network: its levels folded to a few boxes each, and the parts of one node."""

from __future__ import annotations

from typing import Final

from simulator.machine import Cluster, Edge, Node
from simulator.report.breakdown import seconds
from simulator.report.levels import Level, levels
from simulator.report.network import holds_words, kind_of, links_words
from simulator.report.svg import WIDTH, element, escape, figure, line, rect, text
from simulator.units import format_si
from simulator.wiring import DragonflyWiring

MAX_BOXES: Final = 8
"""Boxes drawn of a level; the others are counted."""
MAX_PARTS: Final = 16
"""Parts of a kind drawn of a node; the others are counted."""
_LEVEL_HEIGHT: Final = 84.0
_BOX_HEIGHT: Final = 26.0
_ROWS: Final = ("switch", "gpu", "pcie", "cpu", "nic")
"""Kinds of parts from the top down."""
_ROW_HEIGHT: Final = 78.0
_TOP: Final = 34.0
_CSS: Final = {
    "switch": "time-optimizer",
    "gpu": "time-compute",
    "pcie": "other-term",
    "cpu": "time-overhead",
    "nic": "time-dp-comm",
}


def network_drawing(cluster: Cluster) -> str:
    """Levels from the top down, each folded to at most ``MAX_BOXES`` boxes."""
    shown = levels(cluster)
    height = _LEVEL_HEIGHT * len(shown) + 8
    marks: list[str] = []
    for index, level in enumerate(shown):
        y = 26 + index * _LEVEL_HEIGHT
        if index:
            marks += _branches(shown[index - 1], level, y)
        groups = isinstance(cluster.fabric, DragonflyWiring) and index == 1
        joined_directly = groups or level.links.kind == "site"
        marks += _level(level, y, all_joined=joined_directly)
    words = "; ".join(
        f"{one.count} {one.name}: {holds_words(one)}, {links_words(one)}" for one in shown
    )
    return figure(height, f"Network of {cluster.name}", *marks, detail=words)


def _places(count: int) -> list[float]:
    """Left edges of the boxes of a level."""
    shown = min(count, MAX_BOXES)
    step = WIDTH / shown
    return [step * (i + 0.5) - _box_width(count) / 2 for i in range(shown)]


def _box_width(count: int) -> float:
    return min(WIDTH / min(count, MAX_BOXES) - 14, 320.0)


def _level(level: Level, y: float, *, all_joined: bool) -> list[str]:
    width = _box_width(level.count)
    holds, links = holds_words(level), links_words(level)
    title = f"{holds}, {links}"
    words = f"{level.count:,} x {level.name}: {holds}; {links}"
    marks: list[str] = []
    places = _places(level.count)
    if all_joined:
        marks += [
            _arc(a + width / 2, b + width / 2, y) for i, b in enumerate(places) for a in places[:i]
        ]
    marks.append(text(0, y - 12, words, css="halo"))
    for i, x in enumerate(places):
        last_of_many = i == MAX_BOXES - 1 and level.count > MAX_BOXES
        name = f"... {level.count - MAX_BOXES + 1:,} more" if last_of_many else f"{level.name} {i}"
        css = "other-term" if last_of_many else "time-compute"
        marks.append(rect(x, y, width, _BOX_HEIGHT, css, title=title))
        label = text(x + width / 2, y + _BOX_HEIGHT / 2, name, anchor="middle", css=f"on on-{css}")
        marks.append(label)
    return marks


def _branches(above: Level, level: Level, y: float) -> list[str]:
    """Lines from the boxes of a level to those that hold them, as far as both are drawn."""
    parents, children = _places(above.count), _places(level.count)
    each = max(1, -(-level.count // above.count))
    marks: list[str] = []
    for i, x in enumerate(children):
        parent = min(i // each if level.count > above.count else i, len(parents) - 1)
        top = parents[parent] + _box_width(above.count) / 2
        bottom = x + _box_width(level.count) / 2
        # Text of the level stands between; lines end above it.
        marks.append(line(top, y - _LEVEL_HEIGHT + _BOX_HEIGHT, bottom, y - 22, "guide"))
    return marks


def _arc(a: float, b: float, y: float) -> str:
    middle, lift = (a + b) / 2, y - min(20.0, 4 + abs(b - a) / 40)
    return element(
        "path",
        d=f"M{a:.1f} {y:.1f} Q{middle:.1f} {lift:.1f} {b:.1f} {y:.1f}",
        class_="guide",
        fill="none",
    )


def node_drawing(node: Node) -> str:
    """The parts of a node in rows, and their links; many parts of a kind are counted."""
    rows: dict[str, list[str]] = {kind: [] for kind in _ROWS}
    for part in dict.fromkeys(part for edge in node.edges for part in (edge.a, edge.b)):
        rows.setdefault(kind_of(part), []).append(part)
    used = {kind: sorted(parts, key=_number) for kind, parts in rows.items() if parts}
    place: dict[str, tuple[float, float]] = {}
    marks: list[str] = []
    for row, (kind, parts) in enumerate(used.items()):
        y = _TOP + row * _ROW_HEIGHT
        shown = parts[:MAX_PARTS]
        width = min(WIDTH / len(shown) - 8, 84.0)
        for i, part in enumerate(shown):
            place[part] = (WIDTH / len(shown) * (i + 0.5), y)
            marks += _part(part, place[part], width, _CSS.get(kind, "other-term"))
        if len(parts) > MAX_PARTS:
            words = f"{len(parts) - MAX_PARTS} more of {len(parts)}"
            marks.append(text(WIDTH, y + _BOX_HEIGHT + 10, words, anchor="end", css="muted"))
    links = [_link(edge, place) for edge in node.edges if edge.a in place and edge.b in place]
    height = _TOP + _ROW_HEIGHT * len(used) - 30
    detail = f"{node.num_devices} devices, {len(node.edges)} links, {node.num_nics} NICs"
    return figure(height, f"Inside a node {node.name}", *links, *marks, detail=detail)


def _part(part: str, at: tuple[float, float], width: float, css: str) -> list[str]:
    x, y = at
    return [
        rect(x - width / 2, y, width, _BOX_HEIGHT, css, title=part),
        text(x, y + _BOX_HEIGHT / 2, part, anchor="middle", css=f"on on-{css}"),
    ]


def _link(edge: Edge, place: dict[str, tuple[float, float]]) -> str:
    (ax, ay), (bx, by) = place[edge.a], place[edge.b]
    rate = format_si(edge.bandwidth_bytes_per_s, "B/s")
    tip = element("title", escape(f"{edge.a} - {edge.b}: {rate}, {seconds(edge.latency_s)}"))
    if ay == by:
        lift = ay - min(30.0, 8 + abs(bx - ax) / 24)
        way = f"M{ax:.1f} {ay:.1f} Q{(ax + bx) / 2:.1f} {lift:.1f} {bx:.1f} {by:.1f}"
    else:
        (ax, ay), (bx, by) = sorted(((ax, ay), (bx, by)), key=lambda at: at[1])
        way = f"M{ax:.1f} {ay + _BOX_HEIGHT:.1f} L{bx:.1f} {by:.1f}"
    return element("path", tip, d=way, class_="axis", fill="none")


def _number(part: str) -> int:
    digits = part.removeprefix(kind_of(part))
    return int(digits) if digits else 0
