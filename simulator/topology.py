"""What process groups and pairs of ranks see of a cluster.

Ranks are laid out node by node: rank = node * devices_per_node + place. All groups of an axis are
active at once, so what they share is divided among them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

import networkx as nx

from simulator.errors import PlanError
from simulator.machine import Cluster, GroupLink, PathLink
from simulator.placement import Placement, placements, slowdown
from simulator.plan import ProcessGroup
from simulator.rings import Links, ring_bandwidth
from simulator.topology_graph import (
    MAX_DRAWN_NODES,
    Route,
    cluster_graph,
    nic_shares,
    node_graph,
    routes,
)
from simulator.torus import TorusSpan, torus_span, torus_steps

P2P_FRACTION: Final = 0.76
"""Share of a link that one send inside a node reaches. Source: microsoft/vidur
data/profiling/network: 67 MB in 294 us on A100 (228 of 300 GB/s), 193 us on H100 (348 of 450)."""
P2P_START_S: Final = 5e-6
"""One small send inside a node. Source: the same tables: 5 to 8 us for 2 KB."""
TORUS_FRACTION: Final = 0.9
"""Share of the links that a collective on a torus reaches. Assumes: none published was found."""


@dataclass(slots=True)
class Topology:
    """A cluster seen by its ranks. Build it once with ``of``; answers are kept."""

    cluster: Cluster
    devices_per_node: int
    nic_bytes_per_s: tuple[float, ...]
    direct: Links
    host_routes: tuple[Mapping[str, Route], ...]
    _links: dict[tuple[int, int, int], GroupLink] = field(default_factory=dict)
    _placed: dict[tuple[int, ...], float] = field(default_factory=dict)

    @classmethod
    def of(cls, cluster: Cluster) -> Topology:
        """The topology of a cluster."""
        node = cluster.node
        graph = node_graph(node)
        direct: dict[tuple[int, int], float] = {}
        for edge in node.edges:
            if edge.a.startswith("gpu") and edge.b.startswith("gpu"):
                a, b = sorted((int(edge.a[3:]), int(edge.b[3:])))
                direct[a, b] = edge.bandwidth_bytes_per_s
        return cls(
            cluster=cluster,
            devices_per_node=node.num_devices,
            nic_bytes_per_s=nic_shares(node, graph),
            direct=direct,
            # Devices do not forward for one another; a device's neighbours end the route.
            host_routes=tuple(
                routes(graph, f"gpu{i}", lambda part: not part.startswith("gpu"))
                for i in range(node.num_devices)
            ),
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
        if group.size * group.stride > self.num_devices or in_use > self.num_devices:
            needed = max(group.size * group.stride, in_use)
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
            self._links[key] = (
                self._torus_link(group, in_use)
                if self.cluster.torus is not None
                else self._node_link(group, in_use)
            )
        return self._links[key]

    def path(self, rank_a: int, rank_b: int) -> PathLink:
        """A message from one rank to another while all other ranks send alike.

        Raises:
            PlanError: if a rank lies beyond the cluster.
        """
        last = max(rank_a, rank_b)
        if last >= self.num_devices or min(rank_a, rank_b) < 0:
            raise PlanError(
                f"rank {last} of {self.num_devices} devices in cluster '{self.cluster.name}'",
                hint="take more nodes or a smaller plan",
            )
        if self.cluster.torus is not None:
            return self._torus_path(rank_a, rank_b)
        node_a, place_a = divmod(rank_a, self.devices_per_node)
        node_b, place_b = divmod(rank_b, self.devices_per_node)
        if node_a == node_b:
            return self._local_path(place_a, place_b)
        network = self.cluster.network
        share = min(self.nic_bytes_per_s[place_a], self.nic_bytes_per_s[place_b])
        ratio = 1.0
        latency_s = network.message_s
        for tier in self.cluster.tiers:
            ratio = max(ratio, tier.oversubscription)
            latency_s += tier.hop_s
            if node_a // tier.nodes_per_group == node_b // tier.nodes_per_group:
                break
        return PathLink(share * network.bandwidth_fraction / ratio, latency_s, 1.0)

    def _local_path(self, a: int, b: int) -> PathLink:
        if a == b:
            return PathLink(math.inf, 0.0, 0.0)
        route = self.host_routes[a][f"gpu{b}"]
        return PathLink(
            P2P_FRACTION * route.bandwidth_bytes_per_s, P2P_START_S + route.latency_s, 0.0
        )

    def _torus_path(self, rank_a: int, rank_b: int) -> PathLink:
        torus = self.cluster.torus
        assert torus is not None
        pod = math.prod(torus.shape)
        if rank_a // pod != rank_b // pod:
            network = self.cluster.network
            share = min(self.nic_bytes_per_s) * network.bandwidth_fraction
            return PathLink(share, network.message_s, 1.0)
        steps = torus_steps(rank_a % pod, rank_b % pod, torus)
        return PathLink(TORUS_FRACTION * torus.link_bytes_per_s, steps * torus.hop_s, 0.0)

    def _node_link(self, group: ProcessGroup, num_ranks: int) -> GroupLink:
        """The link of the worst placed sibling: most nodes, then slowest network, then rings."""
        siblings = placements(group.size, group.stride, self.devices_per_node, num_ranks)
        worst = min(
            siblings, key=lambda p: (-p.num_nodes, self._network(p), self._factor(p.local))
        )
        network = self._network(worst)
        return self._link(group.size, worst, network, self._factor(worst.local))

    def _network(self, placement: Placement) -> float:
        """Bandwidth of a group's share of the network: NICs of its members on one node."""
        if placement.num_nodes == 1:
            return math.inf
        tiers = self.cluster.tiers
        slow = slowdown(
            placement, [t.nodes_per_group for t in tiers], [t.oversubscription for t in tiers]
        )
        share = min(self.nic_bytes_per_s[place] for place in placement.local)
        return placement.fewest * share * self.cluster.network.bandwidth_fraction / slow
