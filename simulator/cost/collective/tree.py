"""Tree all-reduce between nodes (NCCL's double binary tree and NVLS tree)."""

from __future__ import annotations

import numpy as np

from simulator.cost.collective.volume import CollectiveKind, bus_bytes
from simulator.machine import GroupLink
from simulator.numeric import Numeric


def tree_s(kind: CollectiveKind, payload_bytes: Numeric, link: GroupLink) -> Numeric:
    """All-reduce up and down a tree of nodes: a0 + 2 ceil(log2 N) (h + min(kappa S, C)) + V / B.

    Every level adds a hop and the time to fill the pipeline with one chunk. A node in the middle
    of the tree sends the payload up and down, so V are the bus bytes; with two nodes each byte
    crosses once per direction and the network carries only S.

    Source: form of NVIDIA/nccl v2.30.7, src/graph/tuning.cc, with the chunk term added; fitted on
        NVIDIA GTC24 S62129 and arXiv 2411.13055 (H100, 4 to 1024 nodes).
    Assumes: a0 holds the latency inside the node, as it was fitted with 8 ranks per node.
    Error: 3-5 % mean; 4-5 % on 64-1024 nodes with constants fitted up to 32 (docs/kernels.md).
    """
    levels = np.ceil(np.log2(link.num_nodes) - _LOG2_SLACK)
    fill_s = np.minimum(link.network_chunk_s_per_byte * payload_bytes, link.network_chunk_s)
    latency_s = link.network_base_s + 2.0 * levels * (link.network_hop_s + fill_s)
    moved = bus_bytes(kind, payload_bytes, link.size)
    in_node = np.maximum(link.all_reduce_bytes_per_s, link.in_network_bytes_per_s)
    in_node = np.where(link.size > link.num_nodes, in_node, np.inf)
    sent = np.where(link.num_nodes == 2.0, payload_bytes, moved)
    transfer_s = np.maximum(moved / in_node, sent / link.network_bytes_per_s)
    runs = np.logical_and(link.num_nodes > 1.0, link.network_runs_tree > 0.0)
    return np.where(runs, latency_s + transfer_s, np.inf)


_LOG2_SLACK = 1e-9
"""Keeps the logarithm of an exact power of two from rounding up to the next level."""
