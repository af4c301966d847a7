"""Ops that load several resources at once: flows on the clock of ``fabric.traffic``."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
from simpy import Environment, Event

from simulator.fabric.traffic import Traffic
from simulator.workload.op import Flow


class FlowNetwork:
    """The resources of a graph's flows; ops progress at max-min fair rates of those active.

    A resource is a link of capacity 1, an op a flow of as many bytes as it takes seconds at full
    speed, which is its limit of 1. Those of lower classes are served first.
    """

    def __init__(
        self, env: Environment, flows: Sequence[Flow], flow_class: Sequence[int] = ()
    ) -> None:
        self._env = env
        self._flows = flows
        self._class = flow_class or [0] * len(flows)
        last = max((resource for flow in flows for resource, _ in flow), default=-1)
        self._traffic = Traffic(np.ones(last + 1))
        self._done: dict[int, Event] = {}
        self._timer: Event | None = None
        self._wake_s = inf

    def serve(self, flow: int, demand_s: float) -> Event:
        """The event that an op, begun now, has ended; it takes ``demand_s`` at full speed."""
        if self._env.now > self._traffic.now_s:
            self._advance()
        number = self._traffic.start(
            self._flows[flow], demand_s, limit_bytes_per_s=1.0, priority=self._class[flow]
        )
        self._done[number] = self._env.event()
        # Rates are computed once for all ops that begin at this moment.
        self._wake_at(self._env.now)
        return self._done[number]

    def _advance(self) -> None:
        """Let time pass until now, and end the ops whose time has come."""
        for number in self._traffic.advance(self._env.now):
            self._done.pop(number).succeed()

    def _wake_at(self, moment_s: float) -> None:
        """Set the timer; the one before it is stale."""
        if moment_s == self._wake_s:
            return
        self._wake_s, self._timer = moment_s, None
        if moment_s < inf:
            self._timer = self._env.timeout(moment_s - self._env.now)
            self._timer.callbacks = [self._wake]

    def _wake(self, timer: Event) -> None:
        if timer is self._timer:
            self._wake_s = inf
            self._advance()
            self._wake_at(self._traffic.next_end_s)
