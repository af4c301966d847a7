"""What the messages of a step load of a fabric, link by link.

A collective between nodes runs as rings: from every node to the next one of its group, each of its
ranks there to its fellow. In an all-to-all every rank sends to every rank on other nodes. All hops
of a collective go at one pace, so it is one flow over the links of all its hops; a link that
carries two of them is loaded twice.

Assumes: trees and hierarchical collectives load the links as rings do; messages take their
bandwidth from the first byte to the last, and none while they start. What the faster of collectives
and messages reaches of a NIC is what any link can carry: the rest is taken to be headers.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np

from simulator.numeric import FloatArray, IntArray
from simulator.workload.op import Flow

MAX_HOPS_AT_ONCE: Final = 200_000
"""Hops that are routed together: more take memory and no less time."""


class Routes(Protocol):
    """The links of a fabric, and which of them messages take between its ports."""

    @property
    def capacity_bytes_per_s(self) -> FloatArray:
        """[links]."""
        ...

    def routes(self, source: IntArray, target: IntArray, key: IntArray) -> IntArray:
        """Links from ports to others, -1 for none; another key may go another way.

        All arguments are [messages].

        Returns:
            [messages, hops].
        """
        ...


@dataclass(frozen=True, slots=True)
class JobFabric:
    """A fabric as the ranks of a job use it.

    Attributes:
        routes: its links; port = node * NICs of a node + NIC.
        num_nics: of a node.
        nics: [devices of a node, NICs of each], over which a device spreads what it sends.
        ring_bytes_per_s: [devices of a node], what a collective lets one send between nodes.
        message_bytes_per_s: [devices of a node], the same of a message.
        fraction: of a link's capacity that traffic of the faster kind reaches.
        nodes: [nodes of the job], which node of the fabric each is.
        connections: over which a NIC spreads what it sends to another, each on a way of its own.
    """

    routes: Routes
    num_nics: int
    nics: IntArray
    ring_bytes_per_s: FloatArray
    message_bytes_per_s: FloatArray
    fraction: float
    nodes: IntArray
    connections: int = 1

    @property
    def devices_per_node(self) -> int:
        """Ranks of a node; they follow one another."""
        return len(self.nics)


def ring_hops(ranks: IntArray, devices_per_node: int) -> IntArray:
    """(from, to) of all hops between nodes of the rings over some ranks. [hops, 2].

    Nodes follow one another in order and the last returns to the first; as many rings as the node
    with the fewest ranks has.
    """
    by_node: dict[int, list[int]] = defaultdict(list)
    for rank in sorted(ranks.tolist()):
        by_node[rank // devices_per_node].append(rank)
    rings = min(map(len, by_node.values()))
    members = np.array([own[:rings] for own in by_node.values()])
    if len(members) == 1:
        return np.empty((0, 2), dtype=np.int64)
    return np.stack((members, np.roll(members, -1, axis=0)), axis=-1).reshape(-1, 2)


def exchange_hops(ranks: IntArray, devices_per_node: int) -> IntArray:
    """(from, to) of all pairs of ranks on different nodes. [hops, 2]."""
    source, target = np.meshgrid(ranks, ranks, indexing="ij")
    apart = source // devices_per_node != target // devices_per_node
    return np.stack((source[apart], target[apart]), axis=-1)


def load(fabric: JobFabric, hops: IntArray, bytes_per_s: FloatArray) -> Flow:
    """Links of all hops, and the share of each that they take together at full speed.

    Args:
        fabric: over which they go.
        hops: [hops, 2] devices (from, to).
        bytes_per_s: [devices of a node], what each sends at full speed.
    """
    taken: dict[int, float] = defaultdict(float)
    for first in range(0, len(hops), MAX_HOPS_AT_ONCE):
        for link, share in _load(fabric, hops[first : first + MAX_HOPS_AT_ONCE], bytes_per_s):
            taken[link] += share
    return tuple(sorted(taken.items()))


def _load(fabric: JobFabric, hops: IntArray, bytes_per_s: FloatArray) -> Flow:
    node, place = np.divmod(hops, fabric.devices_per_node)
    parts = fabric.nics.shape[1] * fabric.connections
    rate = np.repeat(bytes_per_s[place].min(axis=1) / parts, parts)
    ports = fabric.nodes[node][..., None] * fabric.num_nics + fabric.nics[place]
    source, target = (np.repeat(ports[:, end].reshape(-1), fabric.connections) for end in (0, 1))
    key = np.tile(np.arange(fabric.connections), source.size // fabric.connections)
    routes = fabric.routes.routes(source, target, key)
    taken = routes >= 0
    links, place = np.unique(routes[taken], return_inverse=True)
    carried = np.bincount(place, np.broadcast_to(rate[:, None], routes.shape)[taken])
    shares = carried / (fabric.fraction * fabric.routes.capacity_bytes_per_s[links])
    return tuple(zip(links.tolist(), shares.tolist(), strict=True))


def group_load(
    fabric: JobFabric, ranks: IntArray, bytes_per_s: FloatArray, *, exchanges: bool
) -> Flow:
    """Load of a collective of some ranks, empty within a node.

    Args:
        fabric: over which they communicate.
        ranks: of the group.
        bytes_per_s: [devices of a node], what each sends to other nodes at full speed.
        exchanges: it is an all-to-all, not a ring. Its messages take the way of a first connection:
            every pair of ranks has one of its own.
    """
    if not exchanges:
        return load(fabric, ring_hops(ranks, fabric.devices_per_node), bytes_per_s)
    hops = exchange_hops(ranks, fabric.devices_per_node)
    partners = max(len(hops) / len(ranks), 1.0)
    return load(replace(fabric, connections=1), hops, bytes_per_s / partners)
