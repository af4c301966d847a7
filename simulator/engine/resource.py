"""A resource whose bandwidth the flows on it share fairly."""

from __future__ import annotations

from heapq import heappop, heappush

from simpy import Environment, Event


class FairShare:
    """Max-min fair share of one resource: k flows at a time each progress at 1/k of the rate.

    Works in virtual time, the seconds of service every present flow has had since the resource
    was last idle: it runs at 1/k of real time, and a flow that arrives at virtual time v with a
    demand of d ends at v + d whatever comes and goes in between. So a change of k moves only the
    next completion: there is one live timer, and those it replaces are recognised as stale.

    Source: Parekh & Gallager 1993, "A generalized processor sharing approach to flow control".
    """

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._virtual_s = 0.0
        self._updated_s = 0.0
        self._flows: list[tuple[float, int, Event]] = []
        self._arrivals = 0
        self._timer: Event | None = None

    def serve(self, demand_s: float) -> Event:
        """The event that a flow, begun now, has had ``demand_s`` seconds of the full rate."""
        self._advance()
        done = self._env.event()
        # The arrival number breaks ties, so that events themselves are never compared.
        heappush(self._flows, (self._virtual_s + demand_s, self._arrivals, done))
        self._arrivals += 1
        self._set_timer()
        return done

    def _advance(self) -> None:
        """Bring virtual time up to now."""
        now = self._env.now
        if self._flows:
            passed_s = (now - self._updated_s) / len(self._flows)
            # Rounding must not carry virtual time past a completion that is still to come.
            self._virtual_s = min(self._virtual_s + passed_s, self._flows[0][0])
        else:
            self._virtual_s = 0.0  # keeps the times of a flow that is alone exact
        self._updated_s = now

    def _set_timer(self) -> None:
        """Replace the timer by one for the next completion."""
        if not self._flows:
            return
        left_s = (self._flows[0][0] - self._virtual_s) * len(self._flows)
        self._timer = self._env.timeout(left_s)
        self._timer.callbacks = [self._complete]

    def _complete(self, timer: Event) -> None:
        """End the flows whose demand is met."""
        if timer is not self._timer:
            return
        self._virtual_s = self._flows[0][0]
        self._updated_s = self._env.now
        while self._flows and self._flows[0][0] <= self._virtual_s:
            heappop(self._flows)[2].succeed()
        self._set_timer()
