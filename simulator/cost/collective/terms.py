"""What the time of a collective is made of: latency, links in the node, and the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal, TypeAlias

import numpy as np

from simulator.cost.collective.select import Algorithm
from simulator.cost.collective.volume import CollectiveKind
from simulator.machine import GroupLink
from simulator.numeric import Numeric

Part: TypeAlias = Literal["latency", "node", "network"]

PARTS: Final[Mapping[Part, tuple[str, ...]]] = {
    "latency": (
        *("ll_base_s", "ll_hop_s", "ll128_base_s", "ll128_hop_s", "simple_base_s", "simple_hop_s"),
        *("in_network_base_s", "all_to_all_base_s", "all_to_all_hop_s", "all_to_all_small_base_s"),
        *("all_to_all_ramp_base_s", "network_base_s", "network_hop_s", "network_chunk_s_per_byte"),
        *("network_chunk_s", "network_ring_hop_s", "network_message_s", "torus_way_s"),
        *("network_eager_s_per_byte", "network_handshake_s", "pat_rank_s"),
        *("network_ring_way_s", "network_way_s"),
    ),
    "node": (
        *("ll_bytes_per_s", "ll128_bytes_per_s", "ring_bytes_per_s", "all_reduce_bytes_per_s"),
        *("in_network_bytes_per_s", "all_to_all_bytes_per_s", "all_to_all_small_bytes_per_s"),
        *("all_to_all_ramp_bytes_per_s", "torus_bytes_per_s", "torus_bucket_bytes_per_s"),
    ),
    "network": ("network_bytes_per_s", "network_exchange_bytes_per_s"),
}
"""Start-ups and steps, links in the node or of the torus, and NICs with what is above them:
fields of ``GroupLink``. Without all of them no algorithm takes any time."""
SHAPE: Final = ("size", "num_nodes", "network_two_node_trees", "network_ways", "algorithms")
"""The other fields: what is joined, not how well."""


def free_of(link: GroupLink, part: Part) -> GroupLink:
    """``link`` as if a part cost nothing: latencies 0, bandwidths infinite.

    What a machine lacks (0 bytes/s, or a start that is infinite) it does not get by that.
    """
    best = 0.0 if part == "latency" else np.inf
    changes: dict[str, Numeric] = {}
    for name in PARTS[part]:
        value: Numeric = getattr(link, name)
        there = np.logical_and(np.greater(value, 0.0), np.isfinite(value))
        changes[name] = np.where(there, best, value)[()]
    return replace(link, **changes)


def times_without_s(
    algorithm: Algorithm, kind: CollectiveKind, payload_bytes: Numeric, link: GroupLink
) -> dict[Part, Numeric]:
    """Time of an algorithm as if one part cost nothing, for each: the shortest names its bound."""
    return {part: algorithm.time_s(kind, payload_bytes, free_of(link, part)) for part in PARTS}
