"""Tree all-reduce between nodes (NCCL's double binary tree and NVLS tree)."""

from __future__ import annotations

import numpy as np

from simulator.cost.collective.volume import CollectiveKind, bus_bytes
from simulator.machine import GroupLink
from simulator.numeric import Numeric


def tree_s(kind: CollectiveKind, payload_bytes: Numeric, link: GroupLink) -> Numeric:
    """Up and down a tree: a0 + 2 ceil(log2 N) (h + min(kappa S, C) + min(epsilon S, E)) + V / B.

    Every level adds a hop, the time to fill the pipeline with one chunk and, on networks that send
    short messages eagerly, their copy on arrival or the handshake E of longer ones. A node in the
    middle of the tree sends the payload up and down, so V are the bus bytes. Of two nodes each
    sends the payload once, S, with NVLS and where ``two_node_trees`` says so. Else NCCL rates trees
    at 0.9 / 2 of the bus bandwidth and less, rings at n / (2 (n - 1)): no tree is taken for its
    bandwidth.

    Source: form of NVIDIA/nccl v2.30.7, src/graph/tuning.cc, with the chunk term added; ratings
        of trees as there and @01afd20 (2020); eager and longer messages of EFA: ofiwg/libfabric,
        prov/efa/src/efa_hmem.c (GPU memory: eager up to one packet, then read), and
        aws/aws-ofi-nccl, include/nccl_ofi_param.h (EAGER_MAX_SIZE, 8 KiB); fitted on NVIDIA GTC24
        S62129 and arXiv 2411.13055 (H100, 4 to 1024 nodes) and on AWS p4de and p5 (2 nodes).
    Assumes: a0 holds the latency inside the node, as it was fitted with 8 ranks per node.
    Error: 3-5 % mean; 4-5 % on 64-1024 nodes with constants fitted up to 32, and 4-6 % on the
        sizes of p5 and p4de that were not fitted (docs/kernels.md).
    """
    levels = np.ceil(np.log2(link.num_nodes) - _LOG2_SLACK)
    fill_s = np.minimum(link.network_chunk_s_per_byte * payload_bytes, link.network_chunk_s)
    eager_s = np.minimum(link.network_eager_s_per_byte * payload_bytes, link.network_handshake_s)
    latency_s = link.network_base_s + 2.0 * levels * (link.network_hop_s + fill_s + eager_s)
    latency_s = latency_s + 2.0 * link.network_ways * link.network_way_s
    moved = bus_bytes(kind, payload_bytes, link.size)
    in_node = np.maximum(link.all_reduce_bytes_per_s, link.in_network_bytes_per_s)
    in_node = np.where(link.size > link.num_nodes, in_node, np.inf)
    once = np.logical_or(link.in_network_bytes_per_s > 0.0, link.network_two_node_trees > 0.0)
    sent = np.where(np.logical_and(link.num_nodes == 2.0, once), payload_bytes, moved)
    transfer_s = np.maximum(moved / in_node, sent / link.network_bytes_per_s)
    return np.where(link.num_nodes > 1.0, latency_s + transfer_s, np.inf)


_LOG2_SLACK = 1e-9
"""Keeps the logarithm of an exact power of two from rounding up to the next level."""
