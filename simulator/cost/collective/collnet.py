"""All-reduce inside the switches between nodes (SHARP, NCCL's CollNet)."""

from __future__ import annotations

import numpy as np

from simulator.cost.collective.volume import CollectiveKind, bus_bytes
from simulator.machine import GroupLink
from simulator.numeric import Numeric


def collnet_s(kind: CollectiveKind, payload_bytes: Numeric, link: GroupLink) -> Numeric:
    """a0 + 2 (h + min(kappa S, C)) + max(V / B, S / W): up to the switches that add, and down.

    Each node sends its payload once, S, where a ring sends 2 (N - 1) / N S; the ranks of a node
    reduce and spread it among themselves at the same time. Infinite in one node.

    Source: Graham et al. 2016, "Scalable Hierarchical Aggregation Protocol (SHArP)", COM-HPC (from
        memory). DGX H100 SuperPODs reach a bus bandwidth of 480 GB/s with SHARP against 370 to
        380 without (NVIDIA GTC24 S62129, reproduced in stas00/ml-engineering), where the
        bandwidth inside the node is the limit, as here.
    Assumes: latency of two levels of a tree whatever the number of nodes; the switch that adds is
        as far from the nodes as they are from one another.
    """
    fill_s = np.minimum(link.network_chunk_s_per_byte * payload_bytes, link.network_chunk_s)
    latency_s = link.network_base_s + 2.0 * (link.network_hop_s + fill_s + link.network_way_s)
    in_node = np.maximum(link.all_reduce_bytes_per_s, link.in_network_bytes_per_s)
    in_node = np.where(link.size > link.num_nodes, in_node, np.inf)
    moved = bus_bytes(kind, payload_bytes, link.size)
    transfer_s = np.maximum(moved / in_node, payload_bytes / link.network_bytes_per_s)
    return np.where(link.num_nodes > 1.0, latency_s + transfer_s, np.inf)
