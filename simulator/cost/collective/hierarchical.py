"""Collectives in two levels: among the ranks of a node, and among nodes."""

from __future__ import annotations

import numpy as np

from simulator.cost.collective.ring import ring_s
from simulator.cost.collective.tree import tree_s
from simulator.cost.collective.two_levels import between, inside, ranks_per_node
from simulator.cost.collective.volume import CollectiveKind
from simulator.machine import GroupLink
from simulator.numeric import Numeric


def hierarchical_s(kind: CollectiveKind, payload_bytes: Numeric, link: GroupLink) -> Numeric:
    """All-reduce: reduce-scatter in the node, all-reduce between nodes, all-gather in the node.

    An all-gather or a reduce-scatter is one phase between nodes and one in the node. Rank i of
    every node holds 1 / g of the payload and meets the ranks i of the other nodes, so that a
    node's NICs carry 2 (N - 1) / N S of an all-reduce and half of that otherwise. Infinite
    in one node, and with one rank per node.

    Source: Mikami et al. 2018 (arXiv 1811.05233, from memory), 2D-torus all-reduce.
    Assumes: the phases follow one another; between nodes the faster of ring and tree runs.
    """
    local = ranks_per_node(link)
    nodes, shard_bytes = between(link), payload_bytes / local
    network_s = ring_s(kind, shard_bytes, nodes)
    if kind == "all_reduce":
        network_s = np.minimum(network_s, tree_s(kind, shard_bytes, nodes))
        in_node = ring_s("reduce_scatter", payload_bytes, inside(link))
        in_node_s = in_node + ring_s("all_gather", payload_bytes, inside(link))
    else:
        in_node_s = ring_s(kind, payload_bytes, inside(link))
    two_levels = np.logical_and(link.num_nodes > 1.0, local > 1.0)
    return np.where(two_levels, in_node_s + network_s, np.inf)
