"""A clock for flows that share links: when the next one ends, whatever starts meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from math import ceil, inf

from simulator.fabric.fair import Loads
from simulator.fabric.sharing import Sharing, Work
from simulator.numeric import TICK_S, FloatArray


class Traffic:
    """Flows under way, their rates, and when the next of them ends.

    Start flows, read ``next_end_s``, advance to it or to the next start, whichever is earlier.
    Rates are computed once for all that changed at a moment. There is one timer; the ends of flows
    wait in a heap, and one that has moved meanwhile is skipped when it comes up.

    Args:
        capacity_bytes_per_s: [links].

    Attributes:
        now_s: the moment to which it was advanced.
    """

    def __init__(self, capacity_bytes_per_s: FloatArray) -> None:
        self.now_s = 0.0
        self._sharing = Sharing(capacity_bytes_per_s)
        self._left_bytes: dict[int, float] = {}
        self._since_s: dict[int, float] = {}
        self._end_s: dict[int, float] = {}
        self._ends: list[tuple[float, int]] = []
        self._started = 0

    @property
    def work(self) -> Work:
        """Operations so far."""
        return self._sharing.work

    def start(
        self,
        loads: Loads,
        num_bytes: float,
        *,
        weight: float = 1.0,
        limit_bytes_per_s: float = inf,
        priority: int = 0,
    ) -> int:
        """Starts a flow now and returns its number; numbers ascend from 0.

        Args:
            loads: links, and the share of its rate that the flow takes of each, 1 as a rule.
            num_bytes: to be carried at its rate.
            weight: share of a link relative to that of other flows.
            limit_bytes_per_s: the most that the flow can take.
            priority: lower numbers are served first, others share what is left.
        """
        flow = self._started
        self._started += 1
        self._sharing.add(flow, loads, weight=weight, limit=limit_bytes_per_s, priority=priority)
        self._left_bytes[flow] = num_bytes
        self._since_s[flow] = self._end_s[flow] = self.now_s
        if num_bytes > 0:
            self._end_s[flow] = inf
        else:
            heappush(self._ends, (self.now_s, flow))
        return flow

    def rate_bytes_per_s(self, flow: int) -> float:
        """What a flow gets now."""
        self._settle()
        return self._sharing.rate(flow)

    def load_bytes_per_s(self, link: int) -> float:
        """What all flows take of a link now."""
        self._settle()
        return self._sharing.load(link)

    @property
    def next_end_s(self) -> float:
        """When the next flow ends if none starts before; infinite if none will."""
        self._settle()
        while self._ends:
            end_s, flow = self._ends[0]
            if self._end_s.get(flow) == end_s:
                return end_s
            heappop(self._ends)
        return inf

    def advance(self, to_s: float) -> Sequence[int]:
        """Lets time pass and returns the flows that have ended, in the order of their numbers.

        Args:
            to_s: not after ``next_end_s``.
        """
        ended: list[int] = []
        while self.next_end_s <= to_s and self._ends:
            flow = heappop(self._ends)[1]
            del self._end_s[flow]
            ended.append(flow)
        self.now_s = to_s
        for flow in sorted(ended):
            self._forget(flow)
        return sorted(ended)

    def _forget(self, flow: int) -> None:
        self._sharing.remove(flow)
        del self._left_bytes[flow], self._since_s[flow]
        self._end_s.pop(flow, None)

    def _settle(self) -> None:
        """Rates after all changes of this moment, and the ends that follow from them."""
        for flow, (before, rate) in self._sharing.settle().items():
            passed_s = self.now_s - self._since_s[flow]
            moved = before * passed_s if passed_s else 0.0
            left = max(self._left_bytes[flow] - moved, 0.0)
            self._left_bytes[flow], self._since_s[flow] = left, self.now_s
            if not rate and left:
                self._end_s[flow] = inf
                continue
            # On whole ticks, so that flows which end together do so at one moment.
            end_s = ceil((self.now_s + (left / rate if left else 0.0)) / TICK_S) * TICK_S
            self._end_s[flow] = end_s
            heappush(self._ends, (end_s, flow))
