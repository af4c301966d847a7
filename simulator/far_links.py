"""What groups get of links that no tier describes: those between sites, those of a graph.

All rings of an axis run at once. A link of capacity C that they load with F at full speed slows
them to C / F of it, as max-min fair shares of the fullest link do: its flows ask alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulator.graph_ways import GraphWays
from simulator.machine import Cluster, FabricTier
from simulator.numeric import FloatArray, IntArray, ceil_div
from simulator.sibling_rings import NodeRings
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


def site_span(cluster: Cluster, wan: WanWiring) -> int:
    """Numbers that the nodes of a site take, so that no group of a tier lies in two sites.

    The least multiple, of the sizes of all groups within a site, that holds its nodes.
    """
    within = [tier.nodes_per_group for tier in cluster.tiers]
    step = math.lcm(*(nodes for nodes in within if nodes < wan.nodes_per_site))
    return ceil_div(wan.nodes_per_site, step) * step


def numbered(nodes: IntArray, cluster: Cluster) -> IntArray:
    """Numbers of nodes by which groups of tiers count; their own where there are no sites."""
    wan = cluster.fabric
    if not isinstance(wan, WanWiring) or cluster.torus is not None:
        return nodes
    return nodes + nodes // wan.nodes_per_site * (site_span(cluster, wan) - wan.nodes_per_site)


def site_tiers(cluster: Cluster, wan: WanWiring) -> tuple[FabricTier, ...]:
    """Tiers within a site, the last of which spans it, and that of the links between sites.

    A site's way out carries what all NICs of its nodes send, divided by its oversubscription.
    Groups count nodes as ``site_span`` numbers them.
    """
    span = site_span(cluster, wan)
    tiers: list[FabricTier] = []
    for tier in cluster.tiers:
        if tier.nodes_per_group >= wan.nodes_per_site:
            tiers.append(replace(tier, nodes_per_group=span))
            break
        tiers.append(tier)
    else:
        tiers.append(FabricTier("site", span, 1.0, 0.0))
    node = cluster.node
    injected = wan.nodes_per_site * node.num_nics * node.nic_bytes_per_s
    top = span * ceil_div(cluster.num_nodes, wan.nodes_per_site)
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


def between_sites(rings: Sequence[NodeRings], num_nodes: int, wan: WanWiring) -> Far:
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
    hops_s: list[FloatArray] = []
    for some in rings:
        site = some.nodes // wan.nodes_per_site
        crosses = site != np.roll(site, -1, axis=1)
        sent = np.broadcast_to(some.bytes_per_s[:, None], site.shape)
        leaves += np.bincount(site[crosses], sent[crosses], minlength=sites)
        ring = np.arange(len(site))[:, None] * sites
        own = np.bincount((ring + site).ravel(), minlength=ring.size * sites).reshape(-1, sites)
        away = own * (some.num_nodes - own) / (some.num_nodes - 1)
        exchanged += some.bytes_per_s @ away
        hops_s.append(wan.latency_s * crosses)
    way_s = max(float(each.max()) for each in hops_s)
    return _far(leaves.max() / wan.bytes_per_s, exchanged.max() / wan.bytes_per_s, hops_s, way_s)


def over_graph(rings: Sequence[NodeRings], ways: GraphWays, near_s: float) -> Far:
    """What groups get of the links of a graph.

    Args:
        rings: of all siblings.
        ways: which links lie between two nodes.
        near_s: latency of a way that the measured curves hold.
    """
    sent, exchanged = np.zeros((2, ways.num_nodes, ways.num_nodes))
    added_s = np.maximum(0.0, ways.latency_s - near_s)
    hops_s: list[FloatArray] = []
    way_s = 0.0
    for some in rings:
        np.add.at(sent, (some.nodes, some.following), some.bytes_per_s[:, None])
        hops_s.append(added_s[some.nodes, some.following])
        for nodes, bytes_per_s in zip(some.nodes, some.bytes_per_s.tolist(), strict=True):
            pairs = np.ix_(nodes, nodes)
            exchanged[pairs] += bytes_per_s / (some.num_nodes - 1)
            way_s = max(way_s, float(added_s[pairs].max()))
    return _far(ways.fullest(sent), ways.fullest(exchanged), hops_s, way_s)


def _far(ring: float, exchange: float, hops_s: Sequence[FloatArray], way_s: float) -> Far:
    """From slowdowns, the latency of every hop of every ring, and that of the longest way.

    A chunk passes all hops of its ring but one, so that a step takes their sum over N - 1 in the
    mean, whichever hop it leaves out. A tree over nodes in their order leaves a region once on
    each of the levels that join regions, and once more for the node that stands above its root:
    ceil(log2 r) + 1 of its ceil(log2 N) levels, r regions being the far hops of the ring.

    Assumes: chunks follow one another over a far link without waiting for answers.

    Args:
        ring: NICs over what rings get.
        exchange: the same for all-to-alls.
        hops_s: [rings, nodes] of every number of nodes.
        way_s: of the longest way.
    """
    around_s = [hops.sum(axis=1) for hops in hops_s]
    step_s = max(
        float((whole - hops.min(axis=1)).max()) / (hops.shape[1] - 1)
        for whole, hops in zip(around_s, hops_s, strict=True)
    )
    ways = 0
    if way_s > 0:
        regions = max(1, round(max(float(whole.max()) for whole in around_s) / way_s))
        levels = max(_levels(hops.shape[1]) for hops in hops_s)
        ways = min(levels, _levels(regions) + 1)
    return Far(max(1.0, float(ring)), max(1.0, float(exchange)), step_s, way_s, float(ways))


def _levels(leaves: int) -> int:
    """Of a binary tree: ceil(log2 n)."""
    return (leaves - 1).bit_length()
