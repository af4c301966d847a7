"""What the messages of a step load of a fabric, link by link.

A collective between nodes runs as rings: from every node to the next one of its group, each of its
ranks there to its fellow. All its hops go at one pace, so a ring is one flow over the links of all
its hops; a link that carries two of them is loaded twice.

Assumes: trees and hierarchical collectives load the links as rings do; messages take their
bandwidth from the first byte to the last, start-up included. What the faster of collectives and
messages reaches of a NIC is what any link can carry: the rest is taken to be headers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from simulator.numeric import FloatArray, IntArray
from simulator.workload.op import Flow

_FULL: Final = 1 + 1e-9
"""Load up to which a link slows nothing down: rounding of sums of shares."""


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


@dataclass(frozen=True, slots=True)
class FabricLoad:
    """What the messages of a whole job load; flows number the links by their place in ``links``.

    Attributes:
        links: that can be full; of links that all messages load alike only the first.
        asked: [links], what all messages at once would take of each at full speed; 1 fills it.
        rings: [data-parallel groups], pipeline rank -> load of a collective of the whole group.
        sends: [devices of a pipeline rank], pipeline ranks (from, to) -> load of a send. First the
            peers of the first replica, then those of the next.
    """

    links: tuple[int, ...]
    asked: tuple[float, ...]
    rings: tuple[Mapping[int, Flow], ...]
    sends: tuple[Mapping[tuple[int, int], Flow], ...]


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


def load(fabric: JobFabric, hops: IntArray, bytes_per_s: FloatArray) -> Flow:
    """Links of all hops, and the share of each that they take together at full speed.

    Args:
        fabric: over which they go.
        hops: [hops, 2] devices (from, to).
        bytes_per_s: [devices of a node], what each sends at full speed.
    """
    if not hops.size:
        return ()
    node, place = np.divmod(hops, fabric.devices_per_node)
    parts = fabric.nics.shape[1] * fabric.connections
    rate = np.repeat(bytes_per_s[place].min(axis=1) / parts, parts)
    ports = fabric.nodes[node][..., None] * fabric.num_nics + fabric.nics[place]
    source, target = (np.repeat(ports[:, end], fabric.connections) for end in (0, 1))
    key = np.tile(np.arange(fabric.connections), source.size // fabric.connections)
    routes = fabric.routes.routes(source, target, key)
    taken = routes >= 0
    links, place = np.unique(routes[taken], return_inverse=True)
    carried = np.bincount(place, np.broadcast_to(rate[:, None], routes.shape)[taken])
    shares = carried / (fabric.fraction * fabric.routes.capacity_bytes_per_s[links])
    return tuple(zip(links.tolist(), shares.tolist(), strict=True))


def fabric_load(
    fabric: JobFabric, ranks: IntArray, tp: int, sends: Sequence[tuple[int, int]]
) -> FabricLoad:
    """What every device loads, without the links that can never be full.

    Args:
        fabric: over which they communicate.
        ranks: [replicas, peers, pipeline ranks] global ranks; neighbouring peers differ in tp.
        tp: peers with the same number modulo this are of one data-parallel group.
        sends: pipeline ranks between which messages go.
    """
    devices = ranks.reshape(-1, ranks.shape[-1])
    rings = [
        {
            rank: load(
                fabric,
                ring_hops(devices[first::tp, rank], fabric.devices_per_node),
                fabric.ring_bytes_per_s,
            )
            for rank in range(devices.shape[1])
        }
        for first in range(tp)
    ]
    messages = [
        {
            pair: load(
                fabric, _between_nodes(device[list(pair)], fabric), fabric.message_bytes_per_s
            )
            for pair in sends
        }
        for device in devices
    ]
    number, asked = _links_that_fill(flow for own in (*rings, *messages) for flow in own.values())
    first_of: dict[int, int] = {}
    for link, own in number.items():
        first_of.setdefault(own, link)
    return FabricLoad(
        links=tuple(first_of[own] for own in range(len(first_of))),
        asked=asked,
        rings=tuple({rank: _only(flow, number) for rank, flow in own.items()} for own in rings),
        sends=tuple({pair: _only(flow, number) for pair, flow in own.items()} for own in messages),
    )


def _between_nodes(ranks: IntArray, fabric: JobFabric) -> IntArray:
    """The hop from one rank to another, none within a node. [0 or 1, 2]."""
    source, target = ranks // fabric.devices_per_node
    return ranks.reshape(-1, 2)[: int(source != target)]


def _links_that_fill(flows: Iterable[Flow]) -> tuple[dict[int, int], tuple[float, ...]]:
    """Links of which all flows together ask more than they have.

    Returns:
        Link -> number, one for all links that are loaded alike, and what is asked by number.
    """
    loads: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for flow_number, flow in enumerate(flows):
        for link, share in flow:
            loads[link].append((flow_number, share))
    numbers: dict[tuple[tuple[int, float], ...], int] = {}
    of_link = {
        link: numbers.setdefault(tuple(users), len(numbers))
        for link, users in loads.items()
        if sum(share for _, share in users) > _FULL
    }
    return of_link, tuple(sum(share for _, share in users) for users in numbers)


def _only(flow: Flow, number: Mapping[int, int]) -> Flow:
    """The part of a flow over links that can fill, of those that are loaded alike one."""
    return tuple(sorted({number[link]: share for link, share in flow if link in number}.items()))
