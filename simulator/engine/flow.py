"""Ops that load several resources at once, at max-min fair rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil, inf

from simpy import Environment, Event

from simulator.fabric.fair import FULL, few_fair_rates
from simulator.numeric import TICK_S
from simulator.workload.op import Flow


def fair_rates(flows: Mapping[int, Flow]) -> dict[int, float]:
    """Speed of every flow, 1 where nothing slows it down; no resource is loaded above 1.

    No flow could be faster but at the cost of one that is no faster than itself
    (``fabric.fair.few_fair_rates``, here with links of capacity 1 and flows of speed 1).

    Args:
        flows: by any key, the flows that are active.
    """
    room = {resource: 1.0 for flow in flows.values() for resource, _ in flow}
    full_speed = dict.fromkeys(flows, 1.0)
    return few_fair_rates(flows, room, full_speed, full_speed)


@dataclass(slots=True)
class _Active:
    """An op that is running: what is left of it at ``updated_s``, and when it ends at its rate."""

    flow: Flow
    left_s: float
    done: Event
    updated_s: float
    rate: float = 0.0
    end_s: float = inf


class FlowNetwork:
    """The resources of a graph's flows; ops progress at ``fair_rates`` of those active together.

    Only where more is asked of a resource than it has do flows meet: when one comes or goes, only
    those it meets, directly or through others, get new rates. There is one live timer, for the
    next end; ends that a new rate has moved are recognised as stale.
    """

    def __init__(self, env: Environment, flows: Sequence[Flow]) -> None:
        self._env = env
        self._flows = flows
        self._active: dict[int, _Active] = {}
        self._users: dict[int, dict[int, None]] = {}
        """Resource -> active ops, in the order in which they came."""
        self._asked: dict[int, float] = {}
        """Resource -> what its users take of it together at full speed."""
        self._ends: list[tuple[float, int]] = []
        """Heap of (end, op); stale where the op now ends at another time."""
        self._arrivals = 0
        self._timer: Event | None = None

    def serve(self, flow: int, demand_s: float) -> Event:
        """The event that an op, begun now, has ended; it takes ``demand_s`` at full speed."""
        key = self._arrivals
        self._arrivals += 1
        op = _Active(self._flows[flow], demand_s, self._env.event(), self._env.now)
        self._active[key] = op
        for resource, share in op.flow:
            self._users.setdefault(resource, {})[key] = None
            self._asked[resource] = self._asked.get(resource, 0.0) + share
        overfull = self._overfull(op.flow)
        if overfull:
            self._share(self._meeting(overfull))
        else:
            self._set_rate(key, 1.0)
        self._set_timer()
        return op.done

    def _overfull(self, flow: Flow) -> list[int]:
        """Resources of a flow of which more is asked than they have."""
        return [resource for resource, _ in flow if self._asked[resource] > 1 + FULL]

    def _meeting(self, resources: Sequence[int]) -> set[int]:
        """Ops on overfull resources, and all that they meet on others."""
        met: set[int] = set()
        seen = set(resources)
        waiting = list(resources)
        while waiting:
            for key in self._users[waiting.pop()]:
                if key in met:
                    continue
                met.add(key)
                others = [r for r in self._overfull(self._active[key].flow) if r not in seen]
                seen.update(others)
                waiting += others
        return met

    def _share(self, keys: Iterable[int]) -> None:
        """New rates of ops that meet nobody else."""
        flows = {key: self._active[key].flow for key in sorted(keys)}
        for key, rate in fair_rates(flows).items():
            self._set_rate(key, rate)

    def _set_rate(self, key: int, rate: float) -> None:
        """Let an op go on at another rate, and end when that says."""
        now, op = self._env.now, self._active[key]
        op.left_s = max(op.left_s - op.rate * (now - op.updated_s), 0.0)
        op.updated_s, op.rate = now, rate
        # Ends on whole ticks keep sums of times exact; rounded up, no op ends early.
        op.end_s = now + ceil(op.left_s / rate / TICK_S) * TICK_S
        heappush(self._ends, (op.end_s, key))

    def _set_timer(self) -> None:
        """A timer for the next end; the one before it is stale."""
        while self._ends and self._is_stale(*self._ends[0]):
            heappop(self._ends)
        if self._ends:
            self._timer = self._env.timeout(self._ends[0][0] - self._env.now)
            self._timer.callbacks = [self._end]

    def _is_stale(self, end_s: float, key: int) -> bool:
        return key not in self._active or self._active[key].end_s != end_s

    def _end(self, timer: Event) -> None:
        """End the ops whose time has come; those they met go on faster."""
        if timer is not self._timer:
            return
        freed: dict[int, None] = {}
        while self._ends and self._ends[0][0] <= self._env.now:
            end_s, key = heappop(self._ends)
            if self._is_stale(end_s, key):
                continue
            op = self._active.pop(key)
            freed |= dict.fromkeys(self._overfull(op.flow))
            self._leave(key, op)
            op.done.succeed()
        self._share(self._meeting(list(freed)))
        self._set_timer()

    def _leave(self, key: int, op: _Active) -> None:
        for resource, share in op.flow:
            users = self._users[resource]
            del users[key]
            # An empty resource starts from zero, so that rounding does not add up.
            self._asked[resource] = self._asked[resource] - share if users else 0.0
