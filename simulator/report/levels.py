"""A cluster's network in numbers: its levels from the top down; the last is a node."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from simulator.machine import Cluster, FabricTier
from simulator.numeric import ceil_div
from simulator.wiring import (
    DragonflyWiring,
    GraphWiring,
    PodsWiring,
    TorusWiring,
    TreeWiring,
    WanWiring,
)

LinkKind: TypeAlias = Literal[
    "tree", "rails", "dragonfly_group", "dragonfly_global", "torus", "wan", "graph", "nics"
]


@dataclass(frozen=True, slots=True)
class LevelLinks:
    """How what a level holds is joined; what does not apply to a kind is None.

    Attributes:
        count: NICs of a node, links of a graph, links between each two groups of a dragonfly.
        link_bandwidth_bytes_per_s: one link, NIC or way out of a site, per direction.
        node_bandwidth_bytes_per_s: of every node through the level, oversubscription taken off.
        oversubscription: bandwidth of the NICs below over that of the links into the level.
        latency_s: added by crossing the level once, or one hop of a torus.
        rails: leaves that every node is joined to, one per NIC.
        switches: of a group.
        nodes_per_site: of a wide-area network.
        shape: devices along each axis of a torus.
        wraps: whether each axis of a torus has wrap links.
        twisted: whether wrap links land further along a longer axis.
        routing: which ways flows take.
    """

    kind: LinkKind
    count: int | None = None
    link_bandwidth_bytes_per_s: float | None = None
    node_bandwidth_bytes_per_s: float | None = None
    oversubscription: float | None = None
    latency_s: float | None = None
    rails: int | None = None
    switches: int | None = None
    nodes_per_site: int | None = None
    shape: tuple[int, ...] | None = None
    wraps: tuple[bool, ...] | None = None
    twisted: bool | None = None
    routing: str | None = None

    def to_json(self) -> dict[str, object]:
        """What applies to its kind, in SI units."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the network.

    Attributes:
        name: of a group of it: ``spine``, ``node``.
        count: groups of the level in the cluster.
        holds: name of what a full one holds.
        holds_count: how many of those.
        links: how they are joined.
    """

    name: str
    count: int
    holds: str
    holds_count: int
    links: LevelLinks

    def to_json(self) -> dict[str, object]:
        """The level in names, counts and SI units."""
        return {
            "name": self.name,
            "count": self.count,
            "holds": self.holds,
            "holds_count": self.holds_count,
            "links": self.links.to_json(),
        }


def levels(cluster: Cluster) -> list[Level]:
    """The levels of a cluster from the top down; the last is a node."""
    node, wiring = cluster.node, cluster.fabric
    nics = LevelLinks("nics", node.num_nics, node.nic_bytes_per_s if node.num_nics else None)
    own = Level("node", cluster.num_nodes, node.accelerator.name, node.num_devices, nics)
    if cluster.torus is not None and isinstance(wiring, TorusWiring | PodsWiring | None):
        return [*_pods(cluster), own]
    if cluster.num_nodes == 1:
        return [own]
    match wiring:
        case GraphWiring(links):
            graph = LevelLinks("graph", count=len(links))
            return [Level("graph", 1, "node", cluster.num_nodes, graph), own]
        case WanWiring(nodes, rate, latency_s):
            wan = LevelLinks(
                "wan",
                link_bandwidth_bytes_per_s=rate,
                latency_s=latency_s,
                nodes_per_site=nodes,
            )
            sites = ceil_div(cluster.num_nodes, nodes)
            return [Level("wan", 1, "site", sites, wan), *_tree(cluster), own]
        case _:
            return [*_tree(cluster), own]


def _tree(cluster: Cluster) -> list[Level]:
    """Tiers from the top down."""
    found: list[Level] = []
    below, name = 1, "node"
    for index, tier in enumerate(cluster.tiers):
        inside = ceil_div(min(tier.nodes_per_group, cluster.num_nodes), below)
        groups = ceil_div(cluster.num_nodes, tier.nodes_per_group)
        links = _tier_links(cluster, tier, lowest=index == 0)
        found.append(Level(tier.name, groups, name, inside, links))
        below, name = tier.nodes_per_group, tier.name
    return found[::-1]


def _tier_links(cluster: Cluster, tier: FabricTier, *, lowest: bool) -> LevelLinks:
    node, wiring = cluster.node, cluster.fabric
    if isinstance(wiring, DragonflyWiring) and not lowest:
        return LevelLinks(
            "dragonfly_global",
            count=wiring.global_links,
            link_bandwidth_bytes_per_s=node.nic_bytes_per_s,
            oversubscription=tier.oversubscription,
            latency_s=tier.hop_s,
            routing=wiring.routing,
        )
    in_group = isinstance(wiring, DragonflyWiring)
    rails = lowest and isinstance(wiring, TreeWiring) and wiring.rail_optimised
    return LevelLinks(
        "dragonfly_group" if in_group else "rails" if rails else "tree",
        link_bandwidth_bytes_per_s=node.nic_bytes_per_s if in_group else None,
        node_bandwidth_bytes_per_s=node.num_nics * node.nic_bytes_per_s / tier.oversubscription,
        oversubscription=tier.oversubscription,
        latency_s=tier.hop_s,
        rails=node.num_nics if rails else None,
        switches=wiring.switches_per_group if isinstance(wiring, DragonflyWiring) else None,
    )


def _pods(cluster: Cluster) -> list[Level]:
    torus, wiring = cluster.torus, cluster.fabric
    assert torus is not None, "only clusters with a torus have pods"
    shape = wiring.shape if isinstance(wiring, PodsWiring) else torus.shape
    size = math.prod(shape)
    links = LevelLinks(
        "torus",
        link_bandwidth_bytes_per_s=torus.link_bytes_per_s,
        latency_s=torus.hop_s,
        shape=shape,
        wraps=torus.wraps or (True,) * len(shape),
        twisted=isinstance(wiring, TorusWiring) and wiring.twisted,
    )
    pods = ceil_div(cluster.num_devices, size)
    box = Level("pod", pods, cluster.node.accelerator.name, size, links)
    return [box] if pods == 1 else [*_tree(cluster), box]
