"""Fills a ``GroupLink`` from the measured curves of a node and its network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from simulator.far_links import Far
from simulator.machine import Cluster, GroupLink
from simulator.torus import TorusSpan

TORUS_FRACTION: Final = 0.9
"""Share of its links that a collective on a torus reaches. Assumes: no published figure found."""


@dataclass(frozen=True, slots=True)
class GroupShape:
    """How a group lies on the machine, as far as its link depends on it.

    Attributes:
        size, num_nodes: ranks and nodes.
        num_local: ranks on the node that has most.
        local_factor: bandwidth of its in-node links over those of the best placed group of that
            size, at most 1.
        network_bytes_per_s: its share of the NICs as far as the fabric lets its rings use it,
            ``inf`` inside one node.
        network_exchange_bytes_per_s: the same for all-to-alls.
        extra_hop_s: latency of the fabric's tiers on top of the measured curve.
    """

    size: int
    num_nodes: int
    num_local: int
    local_factor: float
    network_bytes_per_s: float
    network_exchange_bytes_per_s: float
    extra_hop_s: float


def at_size(curve: Mapping[int, float], size: int) -> float:
    """A curve over group sizes: linear in log2(size), constant beyond its ends; 1 if empty."""
    if not curve:
        return 1.0
    sizes = sorted(curve)
    levels = [math.log2(n) for n in sizes]
    return float(np.interp(math.log2(max(size, 1)), levels, [curve[n] for n in sizes]))


def group_link(cluster: Cluster, shape: GroupShape) -> GroupLink:
    """The link of a group: curves of the node at its local size, scaled by its placement.

    Assumes: all bandwidths of a badly placed group fall by the same factor; latencies do not.
    """
    curve, network = cluster.node.collectives, cluster.network
    factor, local = shape.local_factor, shape.num_local
    small = factor * at_size(curve.small_group_factor, local)
    tree = curve.in_network
    in_network = tree if tree is not None and local >= curve.in_network_min_size else None
    exchange = factor * at_size(curve.all_to_all_factor, local)
    peers = max(local - 1, 1) if curve.all_to_all_per_peer else 1
    ramp = curve.all_to_all_ramp
    return GroupLink(
        size=float(shape.size),
        num_nodes=float(shape.num_nodes),
        ll_base_s=curve.ll.base_s,
        ll_hop_s=curve.ll.hop_s,
        ll_bytes_per_s=curve.ll.bandwidth_bytes_per_s * small,
        ll128_base_s=curve.ll128.base_s,
        ll128_hop_s=curve.ll128.hop_s,
        ll128_bytes_per_s=curve.ll128.bandwidth_bytes_per_s * small,
        simple_base_s=curve.simple.base_s,
        simple_hop_s=curve.simple.hop_s,
        ring_bytes_per_s=factor * at_size(curve.ring_bytes_per_s, local),
        all_reduce_bytes_per_s=factor * at_size(curve.all_reduce_bytes_per_s, local),
        in_network_base_s=in_network.base_s if in_network else 0.0,
        in_network_bytes_per_s=in_network.bandwidth_bytes_per_s if in_network else 0.0,
        all_to_all_base_s=curve.all_to_all.base_s,
        all_to_all_hop_s=curve.all_to_all.hop_s,
        all_to_all_bytes_per_s=exchange * curve.all_to_all.bandwidth_bytes_per_s,
        all_to_all_small_base_s=curve.all_to_all_small.base_s,
        all_to_all_small_bytes_per_s=peers * factor * curve.all_to_all_small.bandwidth_bytes_per_s,
        network_bytes_per_s=shape.network_bytes_per_s,
        network_exchange_bytes_per_s=shape.network_exchange_bytes_per_s,
        network_base_s=network.base_s,
        network_hop_s=network.hop_s + shape.extra_hop_s,
        network_chunk_s_per_byte=network.chunk_s_per_byte,
        network_chunk_s=network.chunk_s,
        network_ring_hop_s=network.ring_hop_s + shape.extra_hop_s,
        network_message_s=network.message_s + shape.extra_hop_s,
        network_two_node_trees=float(network.two_node_trees),
        network_eager_s_per_byte=network.eager_s_per_byte,
        network_handshake_s=network.handshake_s,
        algorithms=cluster.collective_algorithms,
        all_to_all_ramp_base_s=ramp.base_s if ramp else math.inf,
        all_to_all_ramp_bytes_per_s=exchange * ramp.bandwidth_bytes_per_s if ramp else math.inf,
    )


def over_far_links(link: GroupLink, far: Far, injected_bytes_per_s: float) -> GroupLink:
    """``link`` where links between sites, or those of a graph, slow it.

    Args:
        link: with what the tiers leave of the network.
        far: what they leave of it, and their latency.
        injected_bytes_per_s: what the group's share of the NICs reaches.
    """
    return replace(
        link,
        network_bytes_per_s=np.minimum(
            link.network_bytes_per_s, injected_bytes_per_s / far.ring_slowdown
        ),
        network_exchange_bytes_per_s=np.minimum(
            link.network_exchange_bytes_per_s, injected_bytes_per_s / far.exchange_slowdown
        ),
        network_ring_way_s=far.ring_hop_s,
        network_way_s=far.way_s,
        network_ways=far.ways,
    )


def on_torus(link: GroupLink, span: TorusSpan, num_local: int, hop_s: float) -> GroupLink:
    """``link`` with the torus in place of the node's fabric.

    A ring of n - 1 steps takes the latency of the span's longest way, one hop per link.

    Source: jax-ml/scaling-book, "How to think about sharded matrices".
    """
    if span.longest == 1:
        return link  # one device of the group on this torus: only the network joins it to others
    bandwidth = TORUS_FRACTION * span.bytes_per_s
    exchange = TORUS_FRACTION * span.exchange_bytes_per_s
    step_s = hop_s * span.steps / max(1, num_local - 1)
    return replace(
        link,
        ll_hop_s=step_s,
        ll_bytes_per_s=np.minimum(link.ll_bytes_per_s, bandwidth),
        ll128_hop_s=step_s,
        ll128_bytes_per_s=np.minimum(link.ll128_bytes_per_s, bandwidth),
        simple_hop_s=step_s,
        ring_bytes_per_s=bandwidth,
        all_reduce_bytes_per_s=bandwidth,
        all_to_all_bytes_per_s=exchange,
        all_to_all_small_bytes_per_s=np.minimum(link.all_to_all_small_bytes_per_s, exchange),
        all_to_all_ramp_bytes_per_s=np.minimum(link.all_to_all_ramp_bytes_per_s, exchange),
        torus_bytes_per_s=bandwidth,
        torus_bucket_bytes_per_s=TORUS_FRACTION * span.bucket_bytes_per_s,
        torus_way_s=hop_s * span.steps,
    )
