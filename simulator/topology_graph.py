"""Graphs of a node and of a cluster, and what single devices see of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import networkx as nx

from simulator.machine import Cluster, Edge, Node

MAX_DRAWN_NODES = 64
"""Nodes up to which a whole cluster is drawn unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Route:
    """The best way between two parts of a node: fewest links, then widest.

    Attributes:
        bandwidth_bytes_per_s: its narrowest link, divided by the devices that share it.
        latency_s: summed over its links.
        num_links: links on it.
    """

    bandwidth_bytes_per_s: float
    latency_s: float
    num_links: int


@dataclass(frozen=True, slots=True)
class Wiring:
    """All of a node that its graph and the views of its devices depend on."""

    num_devices: int
    edges: tuple[Edge, ...]
    nic_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class DeviceViews:
    """What every device of a node sees.

    Attributes:
        nic_bytes_per_s: its share of the network, see ``nic_shares``.
        host_routes: best routes to the other parts, not through other devices.
    """

    nic_bytes_per_s: tuple[float, ...]
    host_routes: tuple[Mapping[str, Route], ...]


def device_views(node: Node) -> DeviceViews:
    """The views of the devices of a node, computed once for all nodes of the same wiring."""
    return _device_views(Wiring(node.num_devices, node.edges, node.nic_bytes_per_s))


@lru_cache(maxsize=64)
def _device_views(wiring: Wiring) -> DeviceViews:
    graph = node_graph(wiring)
    return DeviceViews(
        nic_bytes_per_s=nic_shares(wiring, graph),
        # Devices do not forward for one another; a device's neighbours end the route.
        host_routes=tuple(
            routes(graph, f"gpu{i}", lambda part: not part.startswith("gpu"))
            for i in range(wiring.num_devices)
        ),
    )


def node_graph(node: Node | Wiring) -> nx.Graph[str]:
    """Parts of a node; edges carry ``bandwidth``, ``latency`` and ``users``.

    ``users`` counts the devices that share a link when all send at once: for a link that is the
    only way between two sides, those of its smaller side; else 1.
    """
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(f"gpu{i}" for i in range(node.num_devices))
    for edge in node.edges:
        graph.add_edge(
            edge.a, edge.b, bandwidth=edge.bandwidth_bytes_per_s, latency=edge.latency_s, users=1
        )
    for a, b in list(nx.bridges(graph)):
        data = graph.edges[a, b]
        graph.remove_edge(a, b)
        side = sum(part.startswith("gpu") for part in nx.node_connected_component(graph, a))
        graph.add_edge(a, b, **data)
        graph.edges[a, b]["users"] = max(1, min(side, node.num_devices - side))
    return graph


def routes(graph: nx.Graph[str], start: str, may_pass: Callable[[str], bool]) -> dict[str, Route]:
    """The best route from ``start`` to every part that can be reached through allowed parts."""
    best = {start: Route(float("inf"), 0.0, 0)}
    frontier = [start]
    while frontier:
        found: dict[str, Route] = {}
        for part in frontier:
            if part != start and not may_pass(part):
                continue
            for neighbour, link in graph.adj[part].items():
                if neighbour in best:
                    continue
                route = _extend(best[part], link)
                if neighbour not in found or _width(route) > _width(found[neighbour]):
                    found[neighbour] = route
        best |= found
        frontier = list(found)
    return best


def _width(route: Route) -> float:
    return route.bandwidth_bytes_per_s


def _extend(route: Route, link: Mapping[str, float]) -> Route:
    width = link["bandwidth"] / link["users"]
    return Route(
        min(route.bandwidth_bytes_per_s, width),
        route.latency_s + link["latency"],
        route.num_links + 1,
    )


def nic_shares(node: Node | Wiring, graph: nx.Graph[str]) -> tuple[float, ...]:
    """Network bandwidth of each device when all of them send; 0 without a NIC.

    A device spreads its traffic evenly over the NICs nearest to it (fewest links, over other
    devices too); a NIC is divided in proportion to the traffic it gets. The way to the NICs may
    be narrower than the share.
    """
    nearest: list[list[str]] = []
    widths: list[float] = []
    for device in range(node.num_devices):
        reached = routes(graph, f"gpu{device}", lambda _part: True)
        links = {part: r.num_links for part, r in reached.items() if part.startswith("nic")}
        fewest = min(links.values(), default=0)
        nics = [part for part, count in links.items() if count == fewest]
        ways = [reached[place].bandwidth_bytes_per_s for nic in nics for place in graph.adj[nic]]
        nearest.append(nics)
        widths.append(max(ways, default=0.0))
    load: dict[str, float] = defaultdict(float)
    for nics in nearest:
        for nic in nics:
            load[nic] += 1 / len(nics)
    return tuple(
        min(width, sum(node.nic_bytes_per_s / (len(nics) * load[nic]) for nic in nics))
        for nics, width in zip(nearest, widths, strict=True)
    )


def cluster_graph(cluster: Cluster, *, max_nodes: int = MAX_DRAWN_NODES) -> nx.Graph[str]:
    """The first ``max_nodes`` nodes of a cluster and the switches of every tier.

    Parts of node i are ``node<i>/<part>``, switches ``<tier>/<block>``. The uplink of a block of P
    nodes into tier t has the P nodes' NIC bandwidth divided by the oversubscription of t.
    """
    count = min(cluster.num_nodes, max_nodes)
    single = node_graph(cluster.node)
    graph: nx.Graph[str] = nx.Graph()
    for i in range(count):
        graph.update(nx.relabel_nodes(single, {part: f"node{i}/{part}" for part in single}))
    injected = cluster.node.num_nics * cluster.node.nic_bytes_per_s
    below = 1
    for level, tier in enumerate(cluster.tiers):
        for block in range(-(-count // below)):
            switch = f"{tier.name}/{block * below // tier.nodes_per_group}"
            nodes = min(below, count - block * below)
            if level:
                lower = f"{cluster.tiers[level - 1].name}/{block}"
                width = nodes * injected / tier.oversubscription
                graph.add_edge(lower, switch, bandwidth=width, latency=tier.hop_s, users=1)
                continue
            for nic in range(cluster.node.num_nics):
                width = cluster.node.nic_bytes_per_s / tier.oversubscription
                part = f"node{block}/nic{nic}"
                graph.add_edge(part, switch, bandwidth=width, latency=tier.hop_s, users=1)
        below = tier.nodes_per_group
    return graph
