"""What groups get of links that no tier describes: those between sites, those of a graph.

All rings of an axis run at once. A link of capacity C that they load with F at full speed slows
them to C / F of it, as max-min fair shares of the fullest link do: its flows ask alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from simulator.graph_ways import GraphWays
from simulator.machine import Cluster, FabricTier
from simulator.numeric import FloatArray, ceil_div
from simulator.sibling_rings import NodeRing
from simulator.wiring import PodsWiring, WanWiring


@dataclass(frozen=True, slots=True)
class Far:
    """How far links slow a group, all siblings included.

    Attributes:
        ring_slowdown: bandwidth of the NICs over that of rings, 1 or more.
        exchange_slowdown: the same of all-to-alls.
        ring_hop_s: latency added to a step of a ring, in the mean over its way around.
        way_s: latency added to the longest way between two members.
        ways: such ways one after the other from a leaf of a tree to its root.
    """

    ring_slowdown: float
    exchange_slowdown: float
    ring_hop_s: float
    way_s: float
    ways: float


NEAR: Final = Far(1.0, 1.0, 0.0, 0.0, 0.0)
"""No link that tiers do not describe."""


def site_tiers(cluster: Cluster, wan: WanWiring) -> tuple[FabricTier, ...]:
    """Tiers within a site, the last of which spans it, and that of the links between sites.

    A site's way out carries what all NICs of its nodes send, divided by its oversubscription.
    """
    tiers: list[FabricTier] = []
    for tier in cluster.tiers:
        within = min(tier.nodes_per_group, wan.nodes_per_site)
        tiers.append(replace(tier, nodes_per_group=within))
        if within == wan.nodes_per_site:
            break
    if not tiers or tiers[-1].nodes_per_group < wan.nodes_per_site:
        tiers.append(FabricTier("site", wan.nodes_per_site, 1.0, 0.0))
    node = cluster.node
    injected = wan.nodes_per_site * node.num_nics * node.nic_bytes_per_s
    top = max(cluster.num_nodes, wan.nodes_per_site)
    return (*tiers, FabricTier("wan", top, injected / wan.bytes_per_s, wan.latency_s))


def pod_tiers(cluster: Cluster, pods: PodsWiring) -> tuple[FabricTier, ...]:
    """Tiers whose groups are pods, which join the NICs of their hosts.

    Assumes: of a tier that does not hold whole pods the last one counts as cut off.
    """
    hosts = ceil_div(math.prod(pods.shape), cluster.node.num_devices)
    return tuple(
        replace(tier, nodes_per_group=max(1, tier.nodes_per_group // hosts))
        for tier in cluster.tiers
    )


def between_sites(rings: Sequence[NodeRing], num_nodes: int, wan: WanWiring) -> Far:
    """What groups get of the ways out of their sites.

    A ring leaves a site once for every hop to another; of an all-to-all over N nodes, n of them in
    a site, n (N - n) / (N - 1) of what a node sends leaves it.

    Args:
        rings: of all siblings.
        num_nodes: of the cluster.
        wan: ways out, each as wide as the way in.
    """
    sites = ceil_div(num_nodes, wan.nodes_per_site)
    leaves, exchanged = np.zeros(sites), np.zeros(sites)
    latencies: list[FloatArray] = []
    for ring in rings:
        site = ring.nodes // wan.nodes_per_site
        crosses = site != np.roll(site, -1)
        own = np.bincount(site, minlength=sites)
        leaves += ring.bytes_per_s * np.bincount(site[crosses], minlength=sites)
        exchanged += ring.bytes_per_s * own * (ring.num_nodes - own) / (ring.num_nodes - 1)
        latencies.append(wan.latency_s * crosses)
    return _far(leaves.max() / wan.bytes_per_s, exchanged.max() / wan.bytes_per_s, latencies, None)


def over_graph(rings: Sequence[NodeRing], ways: GraphWays, near_s: float) -> Far:
    """What groups get of the links of a graph.

    Args:
        rings: of all siblings.
        ways: which links lie between two nodes.
        near_s: latency of a way that the measured curves hold.
    """
    sent, exchanged = np.zeros((2, ways.num_nodes, ways.num_nodes))
    latencies: list[FloatArray] = []
    longest_s = 0.0
    added_s = np.maximum(0.0, ways.latency_s - near_s)
    for ring in rings:
        following = np.roll(ring.nodes, -1)
        sent[ring.nodes, following] += ring.bytes_per_s
        pairs = np.ix_(ring.nodes, ring.nodes)
        exchanged[pairs] += ring.bytes_per_s / (ring.num_nodes - 1)
        latencies.append(added_s[ring.nodes, following])
        longest_s = max(longest_s, float(added_s[pairs].max()))
    return _far(ways.fullest(sent), ways.fullest(exchanged), latencies, longest_s)


def _far(
    ring: float, exchange: float, latencies: Sequence[FloatArray], longest_s: float | None
) -> Far:
    """From slowdowns, the latency of every hop of every ring, and that of the longest way.

    A chunk passes all hops of its ring but one, so that a step takes their sum over N - 1 in the
    mean, whichever hop it leaves out. A tree over nodes in their order leaves a region once on
    each of the levels that join regions, and once more for the node that stands above its root:
    ceil(log2 r) + 1 of its ceil(log2 N) levels, r regions being the far hops of the ring.

    Assumes: chunks follow one another over a far link without waiting for answers.
    """
    step_s = max(float(hops.sum() - hops.min()) / (len(hops) - 1) for hops in latencies)
    way_s = max(float(hops.max()) for hops in latencies) if longest_s is None else longest_s
    ways = 0.0
    if way_s > 0:
        nodes = max(len(hops) for hops in latencies)
        regions = max(1, round(max(float(hops.sum()) for hops in latencies) / way_s))
        across = math.ceil(math.log2(regions) - _LOG2_SLACK) + 1
        ways = float(min(math.ceil(math.log2(nodes) - _LOG2_SLACK), across))
    return Far(max(1.0, float(ring)), max(1.0, float(exchange)), step_s, way_s, ways)


_LOG2_SLACK: Final = 1e-9
"""Keeps the logarithm of an exact power of two from rounding up to the next level."""
