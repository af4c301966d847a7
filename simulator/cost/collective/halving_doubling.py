"""Recursive halving and doubling: logarithmic steps, each with another partner."""

from __future__ import annotations

import numpy as np

from simulator.cost.collective.two_levels import ranks_per_node
from simulator.cost.collective.volume import CollectiveKind, ring_rounds
from simulator.machine import GroupLink
from simulator.numeric import Numeric


def halving_doubling_s(kind: CollectiveKind, payload_bytes: Numeric, link: GroupLink) -> Numeric:
    """Time b + r (log2 g h + log2 N hm) + r (g - 1) / g S / B + r (N - 1) / N S / W.

    r is 2 for an all-reduce, 1 for its halves, W the bandwidth of a node's NICs. Partners are
    near first while data are halved, so that what crosses the network is 1 / g of the payload per
    rank. Infinite unless g and N are powers of two, where libraries take another algorithm, and
    on a torus, where partners are no neighbours.

    Source: Thakur, Rabenseifner and Gropp 2005, "Optimization of Collective Communication
        Operations in MPICH", IJHPCA 19(1), section 4 (from memory).
    Assumes: any two devices of a node reach the bandwidth of a ring; a step between nodes starts
        like one message; of far links it crosses as many as a tree, one more than it has to.
    """
    rounds, local, nodes = ring_rounds(kind), ranks_per_node(link), link.num_nodes
    node_steps, network_steps = np.log2(local), np.log2(nodes)
    node_bytes = rounds * payload_bytes * (local - 1.0) / local
    network_bytes = rounds * payload_bytes * (nodes - 1.0) / nodes
    bulk = link.all_reduce_bytes_per_s if kind == "all_reduce" else link.ring_bytes_per_s
    ll, ll128, simple = (
        np.where(nodes > 1.0, np.maximum(base_s, link.network_base_s), base_s)
        + rounds * node_steps * hop_s
        + node_bytes / bytes_per_s
        for base_s, hop_s, bytes_per_s in (
            (link.ll_base_s, link.ll_hop_s, link.ll_bytes_per_s),
            (link.ll128_base_s, link.ll128_hop_s, link.ll128_bytes_per_s),
            (link.simple_base_s, link.simple_hop_s, bulk),
        )
    )
    network_s = rounds * network_steps * link.network_message_s
    network_s = network_s + rounds * link.network_ways * link.network_way_s
    network_s = network_s + network_bytes / link.network_bytes_per_s
    whole = np.logical_and(node_steps % 1.0 == 0.0, network_steps % 1.0 == 0.0)
    runs = np.logical_and(whole, np.equal(link.torus_bytes_per_s, 0.0))
    return np.where(runs, np.minimum(np.minimum(ll, ll128), simple) + network_s, np.inf)
