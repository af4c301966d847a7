"""Ops that load several resources at once, at max-min fair rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Final

from simpy import Environment, Event

from simulator.numeric import TICK_S
from simulator.workload.op import Flow

FULL: Final = 1e-9
"""Share of a resource below which it counts as full: rounding of sums of a few shares."""
_DONE: Final = 1e-12
"""Share of an op below which what is left of it is rounding."""


def fair_rates(flows: Mapping[int, Flow]) -> dict[int, float]:
    """Speed of every flow, 1 where nothing slows it down; no resource is loaded above 1.

    Progressive filling: all speeds grow together; a flow stops at its full speed, or when a
    resource that it loads is full. So no flow could be faster but at the cost of one that is no
    faster than itself.

    Args:
        flows: by any key, the flows that are active.

    Source: Bertsekas & Gallager 1992, "Data Networks", section 6.5.2 (max-min flow control).
    """
    rates: dict[int, float] = {}
    growing = dict(flows)
    while growing:
        loads: dict[int, float] = {}
        for flow in growing.values():
            for resource, share in flow:
                loads[resource] = loads.get(resource, 0.0) + share
        taken: dict[int, float] = {}
        for key, rate in rates.items():
            for resource, share in flows[key]:
                taken[resource] = taken.get(resource, 0.0) + share * rate
        room = {r: max(1.0 - taken.get(r, 0.0), 0.0) / load for r, load in loads.items() if load}
        level = min(1.0, *room.values()) if room else 1.0
        full = {resource for resource, most in room.items() if most <= level * (1 + FULL)}
        stopped = [
            key
            for key, flow in growing.items()
            if level >= 1.0 or any(resource in full for resource, _ in flow)
        ]
        for key in stopped:
            rates[key] = level
            del growing[key]
    return rates


class FlowNetwork:
    """The resources of a graph's flows; ops progress at ``fair_rates`` of those active together."""

    def __init__(self, env: Environment, flows: Sequence[Flow]) -> None:
        self._env = env
        self._flows = flows
        self._left_s: dict[int, float] = {}
        self._demand_s: dict[int, float] = {}
        self._active: dict[int, Flow] = {}
        self._done: dict[int, Event] = {}
        self._rates: dict[int, float] = {}
        self._arrivals = 0
        self._updated_s = 0.0
        self._timer: Event | None = None

    def serve(self, flow: int, demand_s: float) -> Event:
        """The event that an op, begun now, has ended; it takes ``demand_s`` at full speed."""
        self._advance()
        done = self._env.event()
        key = self._arrivals
        self._arrivals += 1
        self._left_s[key] = self._demand_s[key] = demand_s
        self._active[key], self._done[key] = self._flows[flow], done
        self._change()
        return done

    def _advance(self) -> None:
        """Bring what is left of every op up to now."""
        passed_s = self._env.now - self._updated_s
        for key, rate in self._rates.items():
            self._left_s[key] = max(self._left_s[key] - rate * passed_s, 0.0)
        self._updated_s = self._env.now

    def _change(self) -> None:
        """New rates, and a timer for the next end; the timer before it is stale."""
        self._rates = fair_rates(self._active)
        if not self._rates:
            return
        next_s = min(self._left_s[key] / rate for key, rate in self._rates.items())
        # Ends on whole ticks keep sums of times exact; rounded up, no op ends early.
        self._timer = self._env.timeout(ceil(next_s / TICK_S) * TICK_S)
        self._timer.callbacks = [self._end]

    def _end(self, timer: Event) -> None:
        """End the ops of which nothing is left."""
        if timer is not self._timer:
            return
        self._advance()
        soonest = min(self._left_s, key=lambda key: self._left_s[key] / self._rates[key])
        over = [k for k, left in self._left_s.items() if left <= _DONE * self._demand_s[k]]
        for key in dict.fromkeys((soonest, *over)):
            del self._left_s[key], self._demand_s[key], self._active[key], self._rates[key]
            self._done.pop(key).succeed()
        self._change()
