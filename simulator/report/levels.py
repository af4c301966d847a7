"""A cluster's network in numbers: its levels from the top down; the last is a node."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, fields, replace
from typing import Final, Literal, TypeAlias

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
    "tree", "rails", "dragonfly_group", "dragonfly_global", "torus", "wan", "site", "graph", "nics"
]
MAX_NAMED: Final = 16
"""Links of a graph that are told one by one; of more only how many there are of each speed."""


@dataclass(frozen=True, slots=True)
class AlikeLinks:
    """Links of a graph with the same figures."""

    count: int
    bandwidth_bytes_per_s: float
    latency_s: float


@dataclass(frozen=True, slots=True)
class NamedLink:
    """One link of a graph."""

    a: str
    b: str
    bandwidth_bytes_per_s: float
    latency_s: float


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
        speeds: of a graph, how many links there are of each bandwidth and latency.
        named: of a graph of few links, all of them.
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
    speeds: tuple[AlikeLinks, ...] | None = None
    named: tuple[NamedLink, ...] | None = None

    def to_json(self) -> dict[str, object]:
        """What applies to its kind, in SI units."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values["speeds"] = self.speeds and [asdict(one) for one in self.speeds]
        values["named"] = self.named and [asdict(one) for one in self.named]
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
        case GraphWiring():
            return [Level("graph", 1, "node", cluster.num_nodes, _graph(wiring)), own]
        case WanWiring(nodes) if cluster.num_nodes > nodes:
            return [*_sites(cluster, wiring), own]
        case _:
            return [*_tree(cluster), own]


def _graph(wiring: GraphWiring) -> LevelLinks:
    """Fastest links first."""
    alike = Counter((rate, late_s) for _, _, rate, late_s in wiring.links)
    fastest = sorted(alike, key=lambda one: (-one[0], one[1]))
    few = len(wiring.links) <= MAX_NAMED
    return LevelLinks(
        "graph",
        count=len(wiring.links),
        speeds=tuple(AlikeLinks(alike[one], *one) for one in fastest),
        named=tuple(NamedLink(*link) for link in wiring.links) if few else None,
    )


def _sites(cluster: Cluster, wan: WanWiring) -> list[Level]:
    """The links between sites, the sites, and the tiers within them: none spans two."""
    sites, rest = divmod(cluster.num_nodes, wan.nodes_per_site)
    whole = _tree(replace(cluster, num_nodes=wan.nodes_per_site))
    last = _tree(replace(cluster, num_nodes=rest)) if rest else []
    # The last site may be too small for a higher tier, of which it then has one group.
    groups = {level.name: level.count for level in last}
    within = [
        replace(one, count=sites * one.count + (groups.get(one.name, 1) if rest else 0))
        for one in whole
    ]
    num_sites = sites + (rest > 0)
    links = LevelLinks(
        "wan",
        link_bandwidth_bytes_per_s=wan.bytes_per_s,
        latency_s=wan.latency_s,
        nodes_per_site=wan.nodes_per_site,
    )
    out = LevelLinks(
        "site", link_bandwidth_bytes_per_s=wan.bytes_per_s, nodes_per_site=wan.nodes_per_site
    )
    return [
        Level("wan", 1, "site", num_sites, links),
        Level("site", num_sites, whole[0].name, whole[0].count, out),
        *within,
    ]


def _tree(cluster: Cluster) -> list[Level]:
    """Tiers from the top down."""
    found: list[Level] = []
    below, name = 1, "node"
    for index, tier in enumerate(cluster.tiers):
        if below >= cluster.num_nodes and found:
            break
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
