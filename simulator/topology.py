"""What process groups and pairs of ranks see of a cluster.

Ranks are laid out node by node: rank = node * devices_per_node + place. All groups of an axis are
active at once, so what they share is divided among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Final

import networkx as nx
import numpy as np

from simulator.errors import PlanError
from simulator.far_links import Far, between_sites, numbered, over_graph, pod_tiers, site_tiers
from simulator.graph_ways import GraphWays
from simulator.group_link import (
    TORUS_FRACTION,
    GroupShape,
    group_link,
    on_torus,
    over_far_links,
)
from simulator.machine import Cluster, FabricTier, GroupLink, PathLink, Torus
from simulator.numeric import FloatArray, IntArray
from simulator.placement import Placement, crossing_fraction, exchanged_fraction, placements
from simulator.plan import ProcessGroup
from simulator.rings import Links, ring_bandwidth
from simulator.sibling_rings import sibling_rings
from simulator.topology_graph import (
    MAX_DRAWN_NODES,
    Route,
    cluster_graph,
    device_views,
    node_graph,
)
from simulator.torus import torus_span, torus_steps
from simulator.wiring import GraphWiring, PodsWiring, WanWiring

P2P_FRACTION: Final = 0.76
"""Share of a link that one send inside a node reaches. Source: microsoft/vidur
data/profiling/network: 67 MB in 294 us on A100 (228 of 300 GB/s), 193 us on H100 (348 of 450)."""
P2P_START_S: Final = 5e-6
"""One small send inside a node. Source: the same tables: 5 to 8 us for 2 KB."""
_MAX_GROUPS: Final = 1000
"""Groups of one size among which the best placed one is searched."""


@dataclass(slots=True)
class Topology:
    """A cluster seen by its ranks. Build it once with ``of``; answers are kept.

    Attributes:
        torus: of one pod.
        group_tiers: between the nodes of a group, between its pods on a torus; links between sites
            and those of a graph are not among them.
        path_tiers: between any two nodes, sites included. Groups of both count nodes as
            ``far_links.numbered`` does.
    """

    cluster: Cluster
    devices_per_node: int
    nic_bytes_per_s: tuple[float, ...]
    direct: Links
    host_routes: tuple[Mapping[str, Route], ...]
    torus: Torus | None
    group_tiers: tuple[FabricTier, ...]
    path_tiers: tuple[FabricTier, ...]
    _links: dict[tuple[int, int, int], GroupLink] = field(
        default_factory=dict[tuple[int, int, int], GroupLink]
    )
    _factors: dict[tuple[int, ...], float] = field(default_factory=dict[tuple[int, ...], float])
    _best: dict[int, float] = field(default_factory=dict[int, float])
    _ways: GraphWays | None = None
    _slowdowns: dict[int, FloatArray] = field(default_factory=dict[int, FloatArray])

    @classmethod
    def of(cls, cluster: Cluster) -> Topology:
        """The topology of a cluster."""
        node = cluster.node
        views = device_views(node)
        direct: dict[tuple[int, int], float] = {}
        for edge in node.edges:
            if edge.a.startswith("gpu") and edge.b.startswith("gpu"):
                a, b = sorted((int(edge.a[3:]), int(edge.b[3:])))
                direct[a, b] = edge.bandwidth_bytes_per_s
        torus, group_tiers, path_tiers = _wired(cluster)
        return cls(
            cluster=cluster,
            devices_per_node=node.num_devices,
            nic_bytes_per_s=views.nic_bytes_per_s,
            direct=direct,
            host_routes=views.host_routes,
            torus=torus,
            group_tiers=group_tiers,
            path_tiers=path_tiers,
        )

    @property
    def num_devices(self) -> int:
        """Devices of the cluster."""
        return self.cluster.num_devices

    def node_graph(self) -> nx.Graph[str]:
        """Parts and links of one node."""
        return node_graph(self.cluster.node)

    def cluster_graph(self, *, max_nodes: int = MAX_DRAWN_NODES) -> nx.Graph[str]:
        """Parts and links of the first nodes and the switches above them."""
        return cluster_graph(self.cluster, max_nodes=max_nodes)

    def group_link(self, group: ProcessGroup, *, num_ranks: int | None = None) -> GroupLink:
        """What a group sees, when it and all its siblings communicate; the worst sibling's view.

        Args:
            group: the communicator.
            num_ranks: ranks in use, if fewer than the cluster has devices.

        Raises:
            PlanError: if the group needs more devices than the cluster has.
        """
        in_use = self.num_devices if num_ranks is None else num_ranks
        needed = max(in_use, (group.size - 1) * group.stride + 1)
        if needed > self.num_devices:
            raise PlanError(
                f"the {group.axis} group of {group.size} ranks, {group.stride} apart, needs "
                f"{needed} devices, but cluster '{self.cluster.name}' has "
                f"{self.cluster.num_nodes} nodes * {self.devices_per_node} devices = "
                f"{self.num_devices}",
                where=f"plan.{group.axis}",
                hint="take more nodes or smaller groups",
            )
        key = (group.size, group.stride, in_use)
        if key not in self._links:
            self._links[key] = self._link(group, in_use)
        return self._links[key]

    def group_of(self, link: GroupLink) -> ProcessGroup:
        """The group for which a link was given; links of other groups may be equal to it."""
        for (size, stride, _), known in self._links.items():
            if known is link:
                return ProcessGroup("", size, stride)
        raise KeyError(f"no group of {link.size} ranks was given this link")

    def path(self, rank_a: int, rank_b: int) -> PathLink:
        """A message from one rank to another while all other ranks send as far.

        Raises:
            PlanError: if a rank lies beyond the cluster.
        """
        last = max(rank_a, rank_b)
        if last >= self.num_devices or min(rank_a, rank_b) < 0:
            raise PlanError(
                f"rank {last} is beyond the {self.num_devices} devices of cluster "
                f"'{self.cluster.name}'",
                hint="take more nodes or a smaller plan",
            )
        torus = self.torus
        if rank_a == rank_b:
            return PathLink(math.inf, 0.0, 0.0)
        if torus is not None and _pod(rank_a, torus) == _pod(rank_b, torus):
            hops = torus_steps(rank_a, rank_b, torus)
            return PathLink(TORUS_FRACTION * torus.link_bytes_per_s, hops * torus.hop_s, 0.0)
        node_a, place_a = divmod(rank_a, self.devices_per_node)
        node_b, place_b = divmod(rank_b, self.devices_per_node)
        if node_a == node_b:
            route = self.host_routes[place_a][f"gpu{place_b}"]
            bandwidth = P2P_FRACTION * route.bandwidth_bytes_per_s
            return PathLink(bandwidth, P2P_START_S + route.latency_s, 0.0)
        share = min(self.nic_bytes_per_s[place_a], self.nic_bytes_per_s[place_b])
        return self._network_path(node_a, node_b, share)

    def _network_path(self, node_a: int, node_b: int, share: float) -> PathLink:
        """If all nodes send d nodes far, min(1, d / P) of what a block of P sends leaves it."""
        network, far = self.cluster.network, node_b - node_a
        crossed = self._crossed((node_a, node_b), self.path_tiers)
        wiring = self.cluster.fabric
        most = wiring.nodes_per_site if isinstance(wiring, WanWiring) else self.cluster.num_nodes
        slow, below = 1.0, 1
        for tier in crossed:
            slow = max(slow, tier.oversubscription * min(1.0, abs(far) / below))
            below = min(tier.nodes_per_group, most)
        latency_s = network.message_s + sum(tier.hop_s for tier in crossed)
        ways = self._graph_ways()
        if ways is not None:
            slow = float(self._sent_far(ways, far)[node_a, node_b])
            latency_s = network.message_s + float(ways.latency_s[node_a, node_b])
        fraction = network.message_fraction or network.bandwidth_fraction
        return PathLink(share * fraction / slow, latency_s, 1.0)

    def _graph_ways(self) -> GraphWays | None:
        """The ways of the cluster's graph, found when first asked for; None where it has none."""
        wiring = self.cluster.fabric
        if self.torus is not None or not isinstance(wiring, GraphWiring):
            return None
        if self._ways is None:
            self._ways = GraphWays.of(self.cluster, wiring)
        return self._ways

    def _sent_far(self, ways: GraphWays, far: int) -> FloatArray:
        """Slowdowns of paths while all nodes send ``far`` nodes further. [nodes, nodes]."""
        if far not in self._slowdowns:
            sent = np.eye(ways.num_nodes, k=far) * sum(self.nic_bytes_per_s)
            self._slowdowns[far] = ways.path_slowdowns(sent)
        return self._slowdowns[far]

    def _far(self, group: ProcessGroup, num_ranks: int) -> Far | None:
        """What all groups of an axis get of links that no tier describes; None without any."""
        wiring, ways = self.cluster.fabric, self._graph_ways()
        if self.torus is not None or not isinstance(wiring, WanWiring | GraphWiring):
            return None
        rings = sibling_rings(group.size, group.stride, self.nic_bytes_per_s, num_ranks)
        if isinstance(wiring, WanWiring):
            return between_sites(rings, self.cluster.num_nodes, wiring)
        assert ways is not None
        tiers = self.cluster.tiers
        return over_graph(rings, ways, tiers[0].hop_s if tiers else 0.0)

    def _link(self, group: ProcessGroup, num_ranks: int) -> GroupLink:
        """The link of the worst placed sibling: most nodes, slowest network, slowest rings."""
        torus = self.torus
        scale_up = self.devices_per_node if torus is None else math.prod(torus.shape)
        siblings = placements(group.size, group.stride, scale_up, num_ranks)
        if self._equal_devices and (
            scale_up % (group.size * group.stride) == 0 or group.stride % scale_up == 0
        ):
            worst = next(siblings)
        else:
            worst = min(
                siblings,
                key=lambda p: (-p.num_nodes, self._network(p), self._placed(p.local)),
            )
        shape = GroupShape(
            size=group.size,
            num_nodes=worst.num_nodes,
            num_local=worst.num_local,
            local_factor=self._placed(worst.local),
            network_bytes_per_s=self._network(worst),
            network_exchange_bytes_per_s=self._left(worst, exchanged_fraction),
            extra_hop_s=self._hop_s(worst),
        )
        link = group_link(self.cluster, shape)
        far = self._far(group, num_ranks) if worst.num_nodes > 1 else None
        if far is not None:
            return over_far_links(link, far, self._injected(worst))
        if torus is None:
            return link
        span = torus_span(worst.num_local, group.stride, torus)
        return on_torus(link, span, worst.num_local, torus.hop_s)

    @property
    def _equal_devices(self) -> bool:
        """Whether it does not matter on which devices of a node a group lies."""
        uniform = not self.direct or self.torus is not None
        return uniform and len(set(self.nic_bytes_per_s)) == 1

    def _injected(self, placement: Placement) -> float:
        """Bandwidth of a group's share of the NICs: those of its members on one node."""
        if placement.num_nodes == 1:
            return math.inf
        shares = self.nic_bytes_per_s
        share = min(shares[place % self.devices_per_node] for place in placement.local)
        return placement.fewest * share * self.cluster.network.bandwidth_fraction

    def _network(self, placement: Placement) -> float:
        """What the tiers leave of it to rings."""
        return self._left(placement, crossing_fraction)

    def _left(self, placement: Placement, crossing: Callable[[IntArray], float]) -> float:
        """What is left if ``crossing`` says which share leaves the blocks of the nodes."""
        nodes, below, slow = numbered(placement.nodes, self.cluster), 1, 1.0
        for tier in self.group_tiers:
            slow = max(slow, tier.oversubscription * crossing(nodes // below))
            below = tier.nodes_per_group
        return self._injected(placement) / slow

    def _hop_s(self, placement: Placement) -> float:
        """Latency that the tiers above the lowest add; the measured curve holds the lowest."""
        if placement.num_nodes == 1:
            return 0.0
        ends = (int(placement.nodes[0]), int(placement.nodes[-1]))
        return sum(tier.hop_s for tier in self._crossed(ends, self.group_tiers)[1:])

    def _crossed(self, nodes: tuple[int, int], tiers: Sequence[FabricTier]) -> list[FabricTier]:
        """Tiers on the way between two nodes, from the lowest to the one that holds both."""
        a, b = numbered(np.array(nodes), self.cluster).tolist()
        crossed: list[FabricTier] = []
        for tier in tiers:
            crossed.append(tier)
            if a // tier.nodes_per_group == b // tier.nodes_per_group:
                break
        return crossed

    def _placed(self, local: tuple[int, ...]) -> float:
        """Ring bandwidth of these devices over that of the best placed group of their size.

        1 where devices hang on a switch. Devices without a ring of direct links go through the
        host.
        """
        if not self.direct or self.torus is not None:
            return 1.0
        if len(local) in (1, self.devices_per_node):
            return 1.0
        if local not in self._factors:
            own = ring_bandwidth(local, self.direct) or self._through_host(local)
            self._factors[local] = min(1.0, own / self._best_ring(len(local)))
        return self._factors[local]

    def _best_ring(self, size: int) -> float:
        """Ring bandwidth of the best placed group of a size; of the first devices if many."""
        count = self.devices_per_node
        groups = (
            combinations(range(count), size)
            if math.comb(count, size) <= _MAX_GROUPS
            else [tuple(range(size))]
        )
        if size not in self._best:
            rings = max(ring_bandwidth(group, self.direct) for group in groups)
            self._best[size] = rings or self._through_host(tuple(range(size)))
        return self._best[size]

    def _through_host(self, local: Sequence[int]) -> float:
        """The narrowest route between neighbours of a group."""
        return min(
            self.host_routes[a][f"gpu{b}"].bandwidth_bytes_per_s
            for a, b in zip(local, (*local[1:], local[0]), strict=True)
        )


def _wired(
    cluster: Cluster,
) -> tuple[Torus | None, tuple[FabricTier, ...], tuple[FabricTier, ...]]:
    """See ``Topology``: torus, group_tiers, path_tiers."""
    torus = cluster.torus
    match cluster.fabric:
        case PodsWiring() as pods if torus is not None:
            torus = replace(torus, shape=pods.shape)
            return torus, pod_tiers(cluster, pods), cluster.tiers
        case WanWiring() as wan if torus is None:
            tiers = site_tiers(cluster, wan)
            return None, tiers[:-1], tiers
        case GraphWiring() if torus is None:
            return None, (), ()
        case _:
            # Without a description, no tier lies between tori.
            return torus, () if torus else cluster.tiers, cluster.tiers


def _pod(rank: int, torus: Torus) -> int:
    return rank // math.prod(torus.shape)
