"""Runs a set of flows on a fabric, event by event: starts, dependencies, ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from typing import Final

import numpy as np

from simulator.errors import PlanError
from simulator.fabric.links import Fabric
from simulator.fabric.sharing import Work
from simulator.fabric.traffic import Traffic
from simulator.numeric import FloatArray, IntArray

_ENDLESS: Final = 1e30
"""Stands for the rate of a flow without links."""


@dataclass(frozen=True, slots=True)
class Flow:
    """Bytes from one endpoint to another.

    Attributes:
        start_s: earliest start; with ``after`` the flow starts when those have arrived, too.
        key: tells flows between the same endpoints apart, for the choice of a path.
        weight: share of a link relative to that of others.
        priority: lower numbers go first.
        after: places in the list of flows of those that it waits for.
        limit_bytes_per_s: the most that sender and receiver manage.
    """

    source: int
    target: int
    num_bytes: float
    start_s: float = 0.0
    key: int = 0
    weight: float = 1.0
    priority: int = 0
    after: tuple[int, ...] = ()
    limit_bytes_per_s: float = inf


@dataclass(frozen=True, slots=True, eq=False)
class FluidRun:
    """What became of the flows.

    Attributes:
        start_s: [flows].
        end_s: [flows], when the last byte arrived, latency of the route included.
        links: of every flow, in the order in which they are passed.
        events: moments at which flows started or ended.
        work: operations of the solver.
    """

    start_s: FloatArray
    end_s: FloatArray
    links: tuple[tuple[int, ...], ...]
    events: int
    work: Work

    @property
    def makespan_s(self) -> float:
        """When the last flow arrived."""
        return float(self.end_s.max(initial=0.0))


def run_flows(fabric: Fabric, flows: Sequence[Flow]) -> FluidRun:
    """Runs flows to their end; the result does not depend on their order in the list.

    There is one timer, for the next end of all flows: the cost is that of the moments at which
    something starts or ends, never one per pair of flows.

    Assumes: rates adapt at once, as if windows were always right; queues and losses cost nothing.

    Raises:
        PlanError: if a number of a flow makes no sense, its ends are no endpoints of the fabric, or
            flows wait for one another in a circle.
    """
    for number, flow in enumerate(flows):
        _check(number, flow, len(flows))
    return _Run(fabric, flows).run()


def _check(number: int, flow: Flow, count: int) -> None:
    """Raises if a flow cannot be run; no comparison holds for nan."""
    for name, value in (("num_bytes", flow.num_bytes), ("start_s", flow.start_s)):
        if not 0 <= value < inf:
            raise PlanError(
                f"flow {number} has {name} {value}", hint="give a finite number, 0 or more"
            )
    if not 0 < flow.weight < inf:
        raise PlanError(
            f"flow {number} has weight {flow.weight}", hint="give a finite number above 0"
        )
    if not flow.limit_bytes_per_s > 0:
        raise PlanError(
            f"flow {number} has limit_bytes_per_s {flow.limit_bytes_per_s}",
            hint="give a rate above 0, or leave it out where links alone bound the flow",
        )
    unknown = [before for before in flow.after if not 0 <= before < count]
    if unknown:
        raise PlanError(
            f"flow {number} waits for flow {unknown[0]}, which is none of the {count} flows",
            hint="'after' holds places in the list of flows, from 0",
        )


class _Run:
    """The state of one run; flows are numbered by a canonical order."""

    def __init__(self, fabric: Fabric, flows: Sequence[Flow]) -> None:
        self.order = sorted(range(len(flows)), key=lambda i: _canonical(flows[i]))
        place = {original: number for number, original in enumerate(self.order)}
        self.flows = [flows[i] for i in self.order]
        self.waits = [len(set(flow.after)) for flow in self.flows]
        self.next: list[list[int]] = [[] for _ in flows]
        for number, flow in enumerate(self.flows):
            for before in set(flow.after):
                self.next[place[before]].append(number)
        self.fabric = fabric
        self.routes, self.detours = _routes(fabric, self.flows)
        self.loads = [
            [(link, 1.0) for link in route if link >= 0] for route in self.routes.tolist()
        ]
        self.latency_s: list[float] = fabric.path_latency_s(self.routes).tolist()
        self.ready_s = [flow.start_s for flow in self.flows]
        self.traffic = Traffic(fabric.capacity_bytes_per_s)
        self.started: list[int] = []
        """Our numbers of the flows of ``traffic``."""

    def run(self) -> FluidRun:
        flows, traffic = self.flows, self.traffic
        start_s, end_s = np.full(len(flows), np.nan), np.full(len(flows), np.nan)
        queue: list[tuple[float, int]] = []
        for number, flow in enumerate(flows):
            if not self.waits[number]:
                heappush(queue, (flow.start_s, number))
        events = 0
        while True:
            now = min(traffic.next_end_s, queue[0][0] if queue else np.inf)
            if now == np.inf:
                break
            events += 1
            for ended in traffic.advance(now):
                number = self.started[ended]
                arrived_s = now + self.latency_s[number]
                end_s[number] = arrived_s
                for after in self.next[number]:
                    self.ready_s[after] = max(self.ready_s[after], arrived_s)
                    self.waits[after] -= 1
                    if not self.waits[after]:
                        heappush(queue, (self.ready_s[after], after))
            starting: list[int] = []
            while queue and queue[0][0] <= now:
                starting.append(heappop(queue)[1])
            if starting:
                self._start(sorted(starting))
                start_s[starting] = now
        return self._result(start_s, end_s, events)

    def _start(self, numbers: list[int]) -> None:
        self.started += numbers
        self._choose(numbers)
        for number in numbers:
            flow = self.flows[number]
            self.traffic.start(
                self.loads[number],
                flow.num_bytes,
                weight=flow.weight,
                priority=flow.priority,
                limit_bytes_per_s=flow.limit_bytes_per_s,
            )

    def _choose(self, numbers: list[int]) -> None:
        """Adaptive routing: a flow that starts takes the detour where the direct way is fuller.

        Source: Kim et al. 2008, "Technology-driven, highly-scalable dragonfly topology", section
            4.2 (UGAL): by load times length, here by what a link carries for its capacity.
        """
        if self.detours is None:
            return
        taken: dict[int, float] = {}
        chosen: dict[tuple[int, int, int], bool] = {}
        for number in numbers:
            flow = self.flows[number]
            ways = [
                [link for link in way[number].tolist() if link >= 0]
                for way in (self.routes, self.detours)
            ]
            same = flow.source, flow.target, flow.key
            if same not in chosen:
                direct, detour = (self._crowding(way, taken) * len(way) for way in ways)
                chosen[same] = detour < direct
            way = ways[chosen[same]]
            self.loads[number] = [(link, 1.0) for link in way]
            self.latency_s[number] = float(self.fabric.latency_s[way].sum())
            share = min(self.fabric.capacity_bytes_per_s[way].min(initial=np.inf), _ENDLESS)
            for link in way:
                taken[link] = taken.get(link, 0.0) + float(share)

    def _crowding(self, way: list[int], taken: dict[int, float]) -> float:
        """The fullest link between switches: load over capacity, flows of this moment included.

        The first and the last link lead from and to the endpoints and are the same either way.
        """
        return max(
            (
                (self.traffic.load_bytes_per_s(link) + taken.get(link, 0.0))
                / float(self.fabric.capacity_bytes_per_s[link])
                for link in way[1:-1]
            ),
            default=0.0,
        )

    def _result(self, start_s: FloatArray, end_s: FloatArray, events: int) -> FluidRun:
        if np.isnan(end_s).any():
            stuck = self.order[int(np.flatnonzero(np.isnan(end_s))[0])]
            raise PlanError(
                f"flow {stuck} never ends", hint="flows may not wait for one another in a circle"
            )
        back = np.argsort(self.order)
        order: list[int] = back.tolist()
        links = tuple(tuple(link for link, _ in self.loads[i]) for i in order)
        return FluidRun(start_s[back], end_s[back], links, events, self.traffic.work)


def _canonical(flow: Flow) -> tuple[float, ...]:
    return (
        flow.start_s,
        flow.source,
        flow.target,
        flow.key,
        flow.num_bytes,
        flow.priority,
        flow.weight,
        flow.limit_bytes_per_s,
    )


def _routes(fabric: Fabric, flows: Sequence[Flow]) -> tuple[IntArray, IntArray | None]:
    """Direct ways, and where there are any the detours, filled up to as many links."""
    source, target, key = (
        np.array([getattr(flow, name) for flow in flows], dtype=np.int64)
        for name in ("source", "target", "key")
    )
    routes = fabric.routes(source, target, key)
    return routes, fabric.detour.routes(source, target, key) if fabric.detour else None
