"""Parallel aggregated trees: all-gather and reduce-scatter in logarithmic network steps."""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.cost.collective.volume import CollectiveKind, bus_bytes
from simulator.machine import GroupLink
from simulator.numeric import Numeric

STEP_SHARE: Final = 1 / 3.5
"""Latency of a step over that of a ring's between nodes. Source: NVIDIA/nccl v2.30.7,
src/graph/tuning.cc: log2(nodes) * interLat / 3.5."""
BANDWIDTH_SHARE: Final = 0.75
"""Bandwidth over that of a ring. Source: the same."""


def pat_s(kind: CollectiveKind, payload_bytes: Numeric, link: GroupLink) -> Numeric:
    """Time b + ceil(log2 N) h / 3.5 + p n + V / (0.75 W); infinite unless n is N.

    Source: NVIDIA/nccl v2.30.7, src/graph/tuning.cc; Jeaugey 2025 (arXiv 2506.20252, from
        memory). NCCL runs it with one rank per node only (from memory, src/graph/tuning.cc,
        ncclPatEnable).
    Error: not compared with a measurement; none was found.
    """
    levels = np.ceil(np.log2(link.num_nodes) - _LOG2_SLACK)
    steps_s = levels * STEP_SHARE * link.network_ring_hop_s + link.pat_rank_s * link.size
    steps_s = steps_s + link.network_ways * link.network_way_s
    bandwidth = BANDWIDTH_SHARE * link.network_bytes_per_s
    transfer_s = bus_bytes(kind, payload_bytes, link.size) / bandwidth
    alone = np.logical_and(link.size == link.num_nodes, link.num_nodes > 1.0)
    return np.where(alone, link.network_base_s + steps_s + transfer_s, np.inf)


_LOG2_SLACK = 1e-9
"""Keeps the logarithm of an exact power of two from rounding up to the next level."""
