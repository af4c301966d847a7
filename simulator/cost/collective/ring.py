"""Ring collectives in NCCL's three protocols."""

from __future__ import annotations

import numpy as np

from simulator.cost.collective.volume import CollectiveKind, bus_bytes, ring_rounds
from simulator.machine import GroupLink
from simulator.numeric import Numeric


def ring_s(kind: CollectiveKind, payload_bytes: Numeric, link: GroupLink) -> Numeric:
    """Lower envelope of the LL, LL128 and Simple lines: b + (k - kN) h + kN hN + V / B.

    k = n - 1 steps (twice for an all-reduce), of which kN = N - 1 cross the network; V are the
    bus bytes. Small messages run in LL (low latency, half the wire carries flags), bulk in
    Simple.

    Source: NVIDIA/nccl v2.30.7, src/graph/tuning.cc for the form; constants fitted on the
        nccl-tests tables of NVIDIA ai-dynamo/aiconfigurator.
    Assumes: NCCL's tuner picks the fastest protocol; the three share one network step time.
    Error: 4-5 % mean in one node. Step time between nodes rests on few points.
    """
    bulk = link.all_reduce_bytes_per_s if kind == "all_reduce" else link.ring_bytes_per_s
    # one rank per node: no in-node link is used
    bulk = np.where(link.size > link.num_nodes, bulk, np.inf)
    ll = _line_s(kind, payload_bytes, link, (link.ll_base_s, link.ll_hop_s, link.ll_bytes_per_s))
    ll128 = _line_s(
        kind, payload_bytes, link, (link.ll128_base_s, link.ll128_hop_s, link.ll128_bytes_per_s)
    )
    simple = _line_s(kind, payload_bytes, link, (link.simple_base_s, link.simple_hop_s, bulk))
    return np.minimum(np.minimum(ll, ll128), simple)


def _line_s(
    kind: CollectiveKind,
    payload_bytes: Numeric,
    link: GroupLink,
    protocol: tuple[Numeric, Numeric, Numeric],
) -> Numeric:
    """One protocol's line; ``protocol`` is its base_s, hop_s and bytes_per_s inside a node."""
    base_s, hop_s, bytes_per_s = protocol
    rounds = ring_rounds(kind)
    network_steps = rounds * (link.num_nodes - 1.0)
    node_steps = rounds * (link.size - 1.0) - network_steps
    base_s = np.where(link.num_nodes > 1.0, np.maximum(base_s, link.network_base_s), base_s)
    bandwidth = np.minimum(bytes_per_s, link.network_bytes_per_s)
    network_step_s = link.network_ring_hop_s + link.network_ring_way_s
    latency_s = base_s + node_steps * hop_s + network_steps * network_step_s
    return latency_s + bus_bytes(kind, payload_bytes, link.size) / bandwidth
