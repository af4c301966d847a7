"""A fabric: a table of directed links, the endpoints they join, and a router between them.

Flows are columns, so that a whole traffic pattern is routed by a few array operations: a route is a
row of link numbers, ``NO_LINK`` where it has fewer links than the longest.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from simulator.errors import PlanError
from simulator.machine import Edge
from simulator.numeric import BoolArray, FloatArray, IntArray, Integral, Numeric

NO_LINK: Final = -1
"""Fills the rows of routes that are shorter than the longest; it may stand anywhere in a row."""


class Router(Protocol):
    """Which links a flow takes."""

    def routes(self, source: IntArray, target: IntArray, key: IntArray) -> IntArray:
        """Links of every flow.

        Args:
            source: [flows], endpoint that sends.
            target: [flows], endpoint that receives.
            key: [flows], what tells flows between the same endpoints apart, as port numbers do;
                equal keys take equal routes.

        Returns:
            [flows, hops], link numbers, ``NO_LINK`` where there is none; a flow from an endpoint
            to itself has no link.
        """
        ...


@dataclass(frozen=True, slots=True)
class Lane:
    """What a link of some kind is: bandwidth per direction and latency."""

    bytes_per_s: float
    latency_s: float


@dataclass(frozen=True, slots=True, eq=False)
class LinkGroup:
    """Links that are alike: those of a tier in one direction, say.

    Attributes:
        label: with a ``{}`` per axis of ``ids``: ``leaf {} to spine {}``.
        ids: numbers of the links, of any shape.
    """

    label: str
    ids: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Fabric:
    """Directed links and the way between any two endpoints.

    Attributes:
        name: what it is, for people.
        num_endpoints: ports of devices or NICs; they are numbered from 0.
        groups: the links by kind; every link is in one group.
        capacity_bytes_per_s: [links].
        latency_s: [links].
        router: the way of every flow.
        detour: a second, longer way, for adaptive routing; None where there is none.
    """

    name: str
    num_endpoints: int
    groups: tuple[LinkGroup, ...]
    capacity_bytes_per_s: FloatArray
    latency_s: FloatArray
    router: Router
    detour: Router | None = None

    @property
    def num_links(self) -> int:
        """Directed links."""
        return len(self.capacity_bytes_per_s)

    def routes(self, source: Integral, target: Integral, key: Integral = 0) -> IntArray:
        """Routes of flows between endpoints; arguments broadcast. [flows, hops].

        Raises:
            PlanError: if an endpoint is not one of the fabric's.
        """
        columns = np.broadcast_arrays(
            *(np.atleast_1d(np.asarray(column, dtype=np.int64)) for column in (source, target, key))
        )
        for ends in columns[:2]:
            wrong = ends[(ends < 0) | (ends >= self.num_endpoints)]
            if wrong.size:
                raise PlanError(
                    f"endpoint {wrong[0]} is none of the {self.num_endpoints} of {self.name}",
                    hint=f"endpoints are numbered 0 to {self.num_endpoints - 1}",
                )
        return self.router.routes(*columns)

    def route(self, source: int, target: int, key: int = 0) -> tuple[int, ...]:
        """Links from one endpoint to another, in the order in which they are passed."""
        return tuple(link for link in self.routes(source, target, key)[0].tolist() if link >= 0)

    def path_latency_s(self, routes: IntArray) -> FloatArray:
        """Latency summed over the links of every route. [...] of [..., hops]."""
        latency = np.append(self.latency_s, 0.0)[routes]
        summed: FloatArray = latency.sum(axis=-1)
        return summed

    def path_bytes_per_s(self, routes: IntArray) -> FloatArray:
        """Capacity of the narrowest link of every route, infinite without a link. [...]."""
        widths = np.append(self.capacity_bytes_per_s, np.inf)[routes]
        narrowest: FloatArray = widths.min(axis=-1, initial=np.inf)
        return narrowest

    def link_name(self, link: int) -> str:
        """What a link is, for people."""
        for group in self.groups:
            place = np.argwhere(group.ids == link)
            if place.size:
                return group.label.format(*place[0].tolist())
        return f"link {link}"


@dataclass(slots=True)
class LinkTable:
    """The links of a fabric while it is built."""

    groups: list[LinkGroup] = field(default_factory=list[LinkGroup])
    _capacity: list[FloatArray] = field(default_factory=list[FloatArray])
    _latency: list[FloatArray] = field(default_factory=list[FloatArray])
    _count: int = 0

    @property
    def capacity_bytes_per_s(self) -> FloatArray:
        """[links]."""
        return np.concatenate([np.empty(0), *self._capacity])

    def add(
        self, label: str, shape: tuple[int, ...], bytes_per_s: Numeric, latency_s: Numeric
    ) -> IntArray:
        """Adds links that are alike, and returns their numbers.

        Args:
            label: of the group, see ``LinkGroup``.
            shape: of the array of numbers.
            bytes_per_s: capacity, of one or broadcast against the shape.
            latency_s: of one, or broadcast against the shape.
        """
        size = int(np.prod(shape))
        ids = np.arange(self._count, self._count + size).reshape(shape)
        self._count += size
        self._capacity.append(np.broadcast_to(bytes_per_s, shape).astype(np.float64).ravel())
        self._latency.append(np.broadcast_to(latency_s, shape).astype(np.float64).ravel())
        self.groups.append(LinkGroup(label, ids))
        return ids

    def add_edges(self, edges: Iterable[Edge]) -> dict[tuple[str, str], int]:
        """Adds a link each way between joined parts; parallel edges act as one link.

        Returns:
            Number of the link from one part to another: widths summed, the longest latency.
        """
        lanes: dict[tuple[str, str], Lane] = {}
        for edge in edges:
            for way in ((edge.a, edge.b), (edge.b, edge.a)):
                lane = lanes.get(way, Lane(0.0, 0.0))
                lanes[way] = Lane(
                    lane.bytes_per_s + edge.bandwidth_bytes_per_s,
                    max(lane.latency_s, edge.latency_s),
                )
        return {
            (a, b): int(self.add(f"{a} to {b}", (1,), lane.bytes_per_s, lane.latency_s)[0])
            for (a, b), lane in lanes.items()
        }

    def fabric(
        self, name: str, num_endpoints: int, router: Router, detour: Router | None = None
    ) -> Fabric:
        """The frozen form."""
        return Fabric(
            name=name,
            num_endpoints=num_endpoints,
            groups=tuple(self.groups),
            capacity_bytes_per_s=self.capacity_bytes_per_s,
            latency_s=np.concatenate([np.empty(0), *self._latency]),
            router=router,
            detour=detour,
        )


def stacked(columns: list[IntArray], keep: list[BoolArray]) -> IntArray:
    """Routes of one link per column; links are left out where ``keep`` is false. [flows, hops]."""
    return np.stack(
        [np.where(kept, links, NO_LINK) for links, kept in zip(columns, keep, strict=True)], axis=-1
    )
