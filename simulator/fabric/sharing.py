"""Fair rates of flows that come and go: what a change does not reach is not computed again.

Rates are max-min fair exactly if every flow has a bottleneck: its own limit, or a full link on
which no flow of its priority is at a higher level (Bertsekas & Gallager 1992, section 6.5.2). A
change is first settled among the flows on the links that it touches, all others held; whoever loses
its bottleneck by that, or is at a higher level than one that it holds up, is let in, until all have
one. If these become many, all are computed at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np

from simulator.fabric.entries import Entries
from simulator.fabric.fair import FULL, Incidence, Loads, fair_rates, few_fair_rates
from simulator.numeric import FloatArray, IntArray

FEW: Final = 48
"""Flows up to which a change is settled one by one: about where arrays become faster."""
FEW_PAIRS: Final = 1000
"""The same of their links, counted once per flow: a collective may load most links of a fabric."""
_OWN_LIMIT: Final = -1
"""The bottleneck of a flow that nothing but its own limit holds up."""


@dataclass(slots=True)
class Work:
    """What the sharing of links took: counts of operations.

    Attributes:
        solves: moments at which rates were computed, each for all changes of the moment.
        whole: those of them for all flows at once.
        flows: flows whose rate was computed, all solves together.
        links: links of those flows, counted once per flow.
    """

    solves: int = 0
    whole: int = 0
    flows: int = 0
    links: int = 0


@dataclass(slots=True)
class _Flow:
    """A flow under way; ``loads`` by the numbers of links in use."""

    loads: tuple[tuple[int, float], ...]
    weight: float
    limit: float
    priority: int
    rate: float
    bottleneck: int

    @property
    def level(self) -> float:
        return self.rate / self.weight


class Sharing:
    """Flows on links and their rates.

    Args:
        capacity: [links].

    Attributes:
        work: operations so far.
    """

    def __init__(self, capacity: FloatArray) -> None:
        self.work = Work()
        self._capacity = capacity
        self._used: dict[int, int] = {}
        """Numbers that links got when they were first loaded: most links of a fabric never are."""
        self._room: list[float] = []
        self._on: list[dict[int, float]] = []
        self._flows: dict[int, _Flow] = {}
        self._entries = Entries()
        self._new: list[int] = []
        self._touched: set[int] = set()

    def add(
        self,
        flow: int,
        loads: Loads,
        *,
        weight: float = 1.0,
        limit: float = inf,
        priority: int = 0,
    ) -> None:
        """Lets a flow in; it has no rate before ``settle``.

        Args:
            flow: a number that no other flow has.
            loads: links, and the share of its rate that the flow takes of each.
            weight: share of a link relative to that of other flows.
            limit: the most that the flow can take.
            priority: lower numbers are served first, others share what is left.
        """
        shares: dict[int, float] = {}
        for link, share in loads:
            place = self._used.get(link)
            if place is None:
                place = self._used[link] = len(self._room)
                self._room.append(float(self._capacity[link]))
                self._on.append({})
            shares[place] = shares.get(place, 0.0) + share
        for place, share in shares.items():
            self._on[place][flow] = share
        self._flows[flow] = _Flow(tuple(shares.items()), weight, limit, priority, 0.0, _OWN_LIMIT)
        self._entries.add(flow, self._flows[flow].loads)
        self._new.append(flow)

    def remove(self, flow: int) -> None:
        """Takes a flow out."""
        for link, _ in self._flows.pop(flow).loads:
            del self._on[link][flow]
            self._touched.add(link)
        self._entries.remove(flow)

    def rate(self, flow: int) -> float:
        """What a flow gets, as of the last ``settle``."""
        return self._flows[flow].rate

    def load(self, link: int) -> float:
        """What all flows take of a link, as of the last ``settle``."""
        place = self._used.get(link)
        if place is None:
            return 0.0
        return sum(share * self._flows[flow].rate for flow, share in self._on[place].items())

    def settle(self) -> dict[int, tuple[float, float]]:
        """Brings rates up to date; those that changed, before and after."""
        self._new = [flow for flow in self._new if flow in self._flows]
        if not (self._new or self._touched):
            return {}
        self.work.solves += 1
        rates = self._settle_few()
        if rates is None:
            rates = self._settle_all()
        changed: dict[int, tuple[float, float]] = {}
        for number, rate in rates.items():
            flow = self._flows[number]
            if rate != flow.rate:
                changed[number] = flow.rate, rate
                flow.rate = rate
        self._new.clear()
        self._touched.clear()
        return changed

    def _settle_few(self) -> dict[int, float] | None:
        """Rates of those that the changes reach; None if they are many."""
        reached = set(self._new)
        for link in self._touched:
            reached.update(self._on[link])
        while len(reached) <= FEW and self._num_pairs(reached) <= FEW_PAIRS:
            rates = self._held(sorted(reached))
            more = self._unfair(rates)
            self.work.flows += len(rates)
            self.work.links += sum(len(self._flows[flow].loads) for flow in rates)
            if not more:
                return rates
            reached |= more
        return None

    def _num_pairs(self, flows: set[int]) -> int:
        return sum(len(self._flows[flow].loads) for flow in flows)

    def _held(self, reached: list[int]) -> dict[int, float]:
        """Rates of some flows while all others keep theirs."""
        rates: dict[int, float] = {}
        for priority in sorted({self._flows[flow].priority for flow in reached}):
            flows = {f: self._flows[f] for f in reached if self._flows[f].priority == priority}
            room: dict[int, float] = {}
            for link in {link for flow in flows.values() for link, _ in flow.loads}:
                taken = 0.0
                for other, share in self._on[link].items():
                    if other not in flows and self._flows[other].priority <= priority:
                        taken += share * rates.get(other, self._flows[other].rate)
                room[link] = max(self._room[link] - taken, 0.0)
            rates |= few_fair_rates(
                {number: flow.loads for number, flow in flows.items()},
                room,
                {number: flow.weight for number, flow in flows.items()},
                {number: flow.limit for number, flow in flows.items()},
            )
        return rates

    def _unfair(self, rates: dict[int, float]) -> set[int]:
        """Flows without new rates whose old ones are not fair beside the new ones.

        Bottlenecks of the flows with new rates are noted on the way.
        """
        unfair: set[int] = set()
        states: dict[int, _State] = {}
        left = {link for link in self._touched if self._on[link]}
        for link in {link for flow in rates for link, _ in self._flows[flow].loads} | left:
            state = states[link] = self._state(link, rates)
            for number in self._on[link]:
                flow = self._flows[number]
                if number not in rates and (
                    state.crowds(flow.priority)
                    or (flow.bottleneck == link and not state.holds(flow.priority, flow.level))
                ):
                    unfair.add(number)
        for number, rate in rates.items():
            flow = self._flows[number]
            level = rate / flow.weight
            if rate >= flow.limit * (1 - FULL):
                flow.bottleneck = _OWN_LIMIT
                continue
            holding = (ln for ln, _ in flow.loads if states[ln].holds(flow.priority, level))
            flow.bottleneck = next(holding, _OWN_LIMIT)
            if flow.bottleneck == _OWN_LIMIT:
                unfair |= {
                    other
                    for link, _ in flow.loads
                    for other in self._on[link]
                    if other not in rates
                    and self._flows[other].priority == flow.priority
                    and self._flows[other].level > level
                }
        return unfair

    def _state(self, link: int, rates: dict[int, float]) -> _State:
        state = _State(self._room[link])
        for number, share in self._on[link].items():
            flow = self._flows[number]
            rate = rates.get(number, flow.rate)
            state.add(flow.priority, share * rate, rate / flow.weight, number in rates)
        return state

    def _settle_all(self) -> dict[int, float]:
        """Rates of all flows, and their bottlenecks."""
        self.work.whole += 1
        numbers = list(self._flows)
        row_of = np.zeros(max(numbers, default=0) + 1, dtype=np.int64)
        row_of[numbers] = np.arange(len(numbers))
        pairs = self._entries.incidence()
        incidence = Incidence(row_of[pairs.flow], pairs.link, pairs.share)
        flows = self._flows.values()
        weight = np.array([flow.weight for flow in flows])
        limit = np.array([flow.limit for flow in flows])
        priority = np.array([flow.priority for flow in flows])
        self.work.flows += len(numbers)
        self.work.links += len(pairs.flow)
        room = np.array(self._room)
        rate = np.zeros(len(numbers))
        bottleneck = np.full(len(numbers), _OWN_LIMIT)
        for one in np.unique(priority):
            among = priority == one
            found = fair_rates(incidence.only(among[incidence.flow]), room, weight, limit)
            rate[among] = found.rate[among]
            holds = _bottlenecks(incidence.only(among[incidence.flow]), room, rate, weight)
            limited = rate >= limit * (1 - FULL)
            bottleneck = np.where(among & ~limited, holds, bottleneck)
            room = np.maximum(room - _loads(incidence, np.where(among, rate, 0.0), len(room)), 0.0)
        for flow, place in zip(flows, bottleneck.tolist(), strict=True):
            flow.bottleneck = place
        return dict(zip(numbers, rate.tolist(), strict=True))


def _loads(incidence: Incidence, rate: FloatArray, num_links: int) -> FloatArray:
    """What flows take of every link. [links]."""
    taken = np.where(np.isfinite(rate), rate, 0.0)[incidence.flow]
    loads: FloatArray = np.bincount(
        incidence.link, incidence.share * taken, minlength=num_links
    ).astype(np.float64)
    return loads


def _bottlenecks(
    incidence: Incidence, room: FloatArray, rate: FloatArray, weight: FloatArray
) -> IntArray:
    """For every flow a full link on which none is at a higher level. [flows]."""
    load = _loads(incidence, rate, len(room))
    level = (rate / weight)[incidence.flow]
    top = np.zeros(len(room))
    np.maximum.at(top, incidence.link, level)
    full = load >= room * (1 - FULL)
    holds = full[incidence.link] & (level >= top[incidence.link] * (1 - FULL))
    found = np.full(len(rate), _OWN_LIMIT)
    found[incidence.flow[holds]] = incidence.link[holds]
    return found


class _State:
    """What flows of each priority do on one link."""

    def __init__(self, room: float) -> None:
        self._room = room
        self._load: dict[int, float] = {}
        self._top: dict[int, float] = {}
        self._lowest_new = inf

    def add(self, priority: int, load: float, level: float, is_new: bool) -> None:
        self._load[priority] = self._load.get(priority, 0.0) + load
        self._top[priority] = max(self._top.get(priority, 0.0), level)
        if is_new:
            self._lowest_new = min(self._lowest_new, priority)

    def holds(self, priority: int, level: float) -> bool:
        """Whether the link is a bottleneck of a flow: full, and none of its priority is higher."""
        load = sum(load for one, load in self._load.items() if one <= priority)
        return load >= self._room * (1 - FULL) and level >= self._top[priority] * (1 - FULL)

    def crowds(self, priority: int) -> bool:
        """Whether flows that go first leave too little for those of a priority."""
        total = sum(self._load.values())
        return self._lowest_new < priority and total > self._room * (1 + FULL)
