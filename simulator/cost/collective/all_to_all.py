"""Direct all-to-all: every rank sends every other rank its shard."""

from __future__ import annotations

import numpy as np

from simulator.cost.collective.volume import CollectiveKind
from simulator.machine import GroupLink
from simulator.numeric import Numeric


def all_to_all_s(kind: CollectiveKind, payload_bytes: Numeric, link: GroupLink) -> Numeric:
    """Lower envelope of lines: b + h n + (N - 1) hm + max(in-node part, network part).

    Of a rank's n shards, g - 1 go to ranks of its node and n - g through its share of the NICs,
    at the same time. Small shards travel in LL, one channel per peer; larger ones in Simple, first
    on few channels, then on all of them.

    Source: form of NVIDIA/nccl send/recv: channels per peer grow with the message
        (src/enqueue.cc, ncclP2pChannel); in-node lines fitted on the nccl-tests tables of NVIDIA
        ai-dynamo/aiconfigurator.
    Assumes: messages to one node follow one another without gaps, so only N - 1 start-ups show.
    Error: 2-6 % mean in one node; not measured between nodes.
    """
    del kind  # the table's common signature: this algorithm serves one kind only
    ranks_per_node = link.size / link.num_nodes
    shard_bytes = payload_bytes / link.size
    node_bytes = shard_bytes * (ranks_per_node - 1.0)
    network_bytes = shard_bytes * (link.size - ranks_per_node)
    # the NIC bandwidth of a node is shared by its ranks
    network_s = network_bytes * ranks_per_node / link.network_exchange_bytes_per_s
    small_s, ramp_s, bulk_s = (
        base_s + np.maximum(node_bytes / bytes_per_s, network_s)
        for base_s, bytes_per_s in (
            (link.all_to_all_small_base_s, link.all_to_all_small_bytes_per_s),
            (link.all_to_all_ramp_base_s, link.all_to_all_ramp_bytes_per_s),
            (link.all_to_all_base_s, link.all_to_all_bytes_per_s),
        )
    )
    start_s = link.all_to_all_hop_s * link.size + link.network_message_s * (link.num_nodes - 1.0)
    start_s = start_s + link.network_way_s
    return start_s + np.minimum(np.minimum(small_s, ramp_s), bulk_s)
