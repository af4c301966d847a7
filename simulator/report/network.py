"""A cluster's network in words: its levels from the top down, then what is inside a node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from simulator.machine import Cluster, Node
from simulator.report.breakdown import seconds
from simulator.report.levels import Level, LevelLinks, levels
from simulator.units import format_si

MAX_SPEEDS: Final = 4
"""Speeds of a graph's links that are named in one line."""


def holds_words(level: Level) -> str:
    """What a group of a level holds."""
    links = level.links
    match links.kind:
        case "torus":
            twisted = "twisted " if links.twisted else ""
            return f"a {twisted}torus of {' x '.join(map(str, links.shape or ()))} devices"
        case "wan":
            return f"{level.holds_count:,} sites of {links.nodes_per_site or 0:,} nodes"
        case "graph":
            return f"{level.holds_count:,} nodes"
        case _:
            return f"{level.holds_count:,} x {level.holds}"


def links_words(level: Level) -> str:
    """How what a level holds is joined."""
    links = level.links
    one = _rate(links.link_bandwidth_bytes_per_s or 0.0)
    late = seconds(links.latency_s or 0.0)
    match links.kind:
        case "nics":
            return f"{links.count} x NIC of {one}" if links.count else "no NIC"
        case "graph":
            return _graph_words(links)
        case "site":
            return f"{one} out of each, shared by {links.nodes_per_site} nodes"
        case "wan":
            return f"{one} and {late} between each two sites"
        case "torus":
            return f"{one} per link, {late}, {_around(links)}"
        case "dragonfly_global":
            width = f"{links.count} x {one} between each two"
            return f"{width}{_ratio(links)}, {late}, {links.routing} routing"
        case "dragonfly_group":
            return f"{links.switches} switches, all joined by {one}, {_through(links)}, {late}"
        case "rails":
            return f"{links.rails} rails, {_through(links)}, {late}"
        case "tree":
            return f"{_through(links)}, {late}"


def _through(links: LevelLinks) -> str:
    """What a node gets through a tier."""
    return f"{_rate(links.node_bandwidth_bytes_per_s or 0.0)} per node{_ratio(links)}"


def _ratio(links: LevelLinks) -> str:
    ratio = links.oversubscription
    return "" if ratio is None or ratio == 1 else f", {ratio:g} : 1 oversubscribed"


def _graph_words(links: LevelLinks) -> str:
    """How many links there are of each speed, as far as that fits on a line."""
    speeds = links.speeds or ()
    shown = [
        f"{one.count:,} of {_speed(one.bandwidth_bytes_per_s, one.latency_s)}"
        for one in speeds[:MAX_SPEEDS]
    ]
    more = sum(one.count for one in speeds[MAX_SPEEDS:])
    return "; ".join([*shown, *([f"{more:,} others"] if more else [])])


def _around(links: LevelLinks) -> str:
    wraps = links.wraps or ()
    return "wraps around" if all(wraps) else f"wraps on {sum(wraps)} of {len(wraps)} axes"


@dataclass(frozen=True, slots=True)
class PartLinks:
    """Links inside a node that join the same kinds of parts."""

    kinds: str
    count: int
    rates: str
    latency_s: float


def part_links(node: Node) -> list[PartLinks]:
    """What is inside a node, by the kinds of parts that are joined."""
    found: dict[str, list[int]] = {}
    for place, edge in enumerate(node.edges):
        found.setdefault(" - ".join(map(kind_of, (edge.a, edge.b))), []).append(place)
    rows: list[PartLinks] = []
    for kinds, places in found.items():
        rates = sorted({node.edges[place].bandwidth_bytes_per_s for place in places})
        shown = " to ".join(_rate(rate) for rate in dict.fromkeys((rates[0], rates[-1])))
        late = max(node.edges[place].latency_s for place in places)
        rows.append(PartLinks(kinds, len(places), shown, late))
    return rows


def kind_of(part: str) -> str:
    """The kind of a part of a node: ``gpu`` of ``gpu3``."""
    return re.sub(r"\d+$", "", part)


def network_rows(cluster: Cluster) -> list[tuple[str, str, str, str]]:
    """Levels, then the links inside a node, each as words."""
    rows: list[tuple[str, str, str, str]] = []
    for one in levels(cluster):
        rows.append((one.name, f"{one.count:,}", holds_words(one), links_words(one)))
        rows += [
            (f"  {link.a} - {link.b}", "1", "", _speed(link.bandwidth_bytes_per_s, link.latency_s))
            for link in one.links.named or ()
        ]
    rows += [
        (
            f"  {one.kinds}",
            f"{one.count:,}",
            "per node",
            f"{one.rates}, {seconds(one.latency_s)}",
        )
        for one in part_links(cluster.node)
    ]
    return rows


def network_record(cluster: Cluster) -> Mapping[str, object]:
    """Levels, and every link inside a node, in names, counts and SI units."""
    return {
        "cluster": cluster.name,
        "nodes": cluster.num_nodes,
        "devices": cluster.num_devices,
        "levels": [one.to_json() for one in levels(cluster)],
        "node": [
            {
                "a": edge.a,
                "b": edge.b,
                "bandwidth_bytes_per_s": edge.bandwidth_bytes_per_s,
                "latency_s": edge.latency_s,
            }
            for edge in cluster.node.edges
        ],
    }


def _speed(bytes_per_s: float, latency_s: float) -> str:
    return f"{_rate(bytes_per_s)}, {seconds(latency_s)}"


def _rate(bytes_per_s: float) -> str:
    return format_si(bytes_per_s, "B/s")
