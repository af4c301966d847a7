"""A cluster's network in words: its levels from the top down, then what is inside a node."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from simulator.machine import Cluster, Node
from simulator.numeric import ceil_div
from simulator.report.breakdown import seconds
from simulator.units import format_si
from simulator.wiring import (
    DragonflyWiring,
    GraphWiring,
    PodsWiring,
    TorusWiring,
    TreeWiring,
    WanWiring,
)


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the network.

    Attributes:
        name: of a group of it: ``spine``, ``node``.
        count: groups of the level in the cluster.
        holds: what one holds.
        links: how what it holds is joined.
    """

    name: str
    count: int
    holds: str
    links: str


def levels(cluster: Cluster) -> list[Level]:
    """The levels of a cluster from the top down; the last is a node."""
    node = cluster.node
    nics = f"{node.num_nics} x NIC of {_rate(node.nic_bytes_per_s)}" if node.num_nics else "no NIC"
    own = Level("node", cluster.num_nodes, f"{node.num_devices} x {node.accelerator.name}", nics)
    if cluster.torus is not None and isinstance(cluster.fabric, TorusWiring | PodsWiring | None):
        return [*_pods(cluster), own]
    if cluster.num_nodes == 1:
        return [own]
    match cluster.fabric:
        case GraphWiring(links):
            return [Level("graph", 1, f"{cluster.num_nodes:,} nodes", f"{len(links):,} links"), own]
        case WanWiring(nodes, rate, latency_s):
            sites = ceil_div(cluster.num_nodes, nodes)
            words = f"{_rate(rate)} and {seconds(latency_s)} between each two sites"
            return [
                Level("wan", 1, f"{sites:,} sites of {nodes:,} nodes", words),
                *_tree(cluster),
                own,
            ]
        case _:
            return [*_tree(cluster), own]


def _tree(cluster: Cluster) -> list[Level]:
    """Tiers from the top down."""
    found: list[Level] = []
    below, name = 1, "node"
    injected = cluster.node.num_nics * cluster.node.nic_bytes_per_s
    wiring = cluster.fabric
    for index, tier in enumerate(cluster.tiers):
        size = min(tier.nodes_per_group, cluster.num_nodes)
        inside = ceil_div(size, below)
        holds = f"{inside:,} x {name}"
        width = f"{_rate(injected / tier.oversubscription)} per node"
        ratio = (
            "" if tier.oversubscription == 1 else f", {tier.oversubscription:g} : 1 oversubscribed"
        )
        links = f"{width}{ratio}, {seconds(tier.hop_s)}"
        if index == 0 and isinstance(wiring, TreeWiring) and wiring.rail_optimised:
            links = f"{cluster.node.num_nics} rails, {links}"
        if isinstance(wiring, DragonflyWiring):
            links = _dragonfly(wiring, cluster, index, links)
        found.append(
            Level(tier.name, ceil_div(cluster.num_nodes, tier.nodes_per_group), holds, links)
        )
        below, name = tier.nodes_per_group, tier.name
    return found[::-1]


def _dragonfly(wiring: DragonflyWiring, cluster: Cluster, index: int, links: str) -> str:
    rate = _rate(cluster.node.nic_bytes_per_s)
    if index == 0:
        return f"{wiring.switches_per_group} switches, all joined by {rate}, {links}"
    return f"{wiring.global_links} x {rate} between each two, {wiring.routing} routing"


def _pods(cluster: Cluster) -> list[Level]:
    torus, wiring = cluster.torus, cluster.fabric
    assert torus is not None, "only clusters with a torus have pods"
    shape = wiring.shape if isinstance(wiring, PodsWiring) else torus.shape
    pods = ceil_div(cluster.num_devices, math.prod(shape))
    twisted = "twisted " if isinstance(wiring, TorusWiring) and wiring.twisted else ""
    wraps = torus.wraps or (True,) * len(shape)
    around = "wraps around" if all(wraps) else f"wraps on {sum(wraps)} of {len(wraps)} axes"
    links = f"{_rate(torus.link_bytes_per_s)} per link, {seconds(torus.hop_s)}, {around}"
    box = Level("pod", pods, f"a {twisted}torus of {' x '.join(map(str, shape))} devices", links)
    return [box] if pods == 1 else [*_tree(cluster), box]


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
    rows = [(one.name, f"{one.count:,}", one.holds, one.links) for one in levels(cluster)]
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
    """The same as JSON data."""
    return {
        "cluster": cluster.name,
        "devices": cluster.num_devices,
        "levels": [
            {"name": one.name, "count": one.count, "holds": one.holds, "links": one.links}
            for one in levels(cluster)
        ],
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


def _rate(bytes_per_s: float) -> str:
    return format_si(bytes_per_s, "B/s")
