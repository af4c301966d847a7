"""Max-min fair rates of flows that share links: many at once, or a few among many.

A flow grows by its weight and takes of a link ``share`` times its rate: 1 of the links on its way,
more where it passes a link several times, less where it is spread over several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from simulator.numeric import BoolArray, FloatArray, IntArray

FULL: Final = 1e-9
"""Share of a link below which what is left of it is rounding."""
_SAME: Final = 1e-12
"""Levels that differ by less than this share are one: rounding of sums of many rates."""

Loads: TypeAlias = Sequence[tuple[int, float]]
"""Links that a flow loads, and the share of its rate by which it loads each."""


@dataclass(frozen=True, slots=True, eq=False)
class Incidence:
    """Which flow loads which link, an entry each; those of a flow follow one another.

    Attributes:
        flow: [entries].
        link: [entries].
        share: [entries], of the flow's rate.
    """

    flow: IntArray
    link: IntArray
    share: FloatArray

    @classmethod
    def of(cls, flows: Sequence[Loads]) -> Incidence:
        """The entries of flows."""
        counts = [len(loads) for loads in flows]
        pairs = [pair for loads in flows for pair in loads]
        return cls(
            flow=np.repeat(np.arange(len(flows)), counts),
            link=np.array([link for link, _ in pairs], dtype=np.int64),
            share=np.array([share for _, share in pairs], dtype=np.float64),
        )

    def only(self, kept: BoolArray) -> Incidence:
        """The entries that are kept."""
        return Incidence(self.flow[kept], self.link[kept], self.share[kept])


@dataclass(frozen=True, slots=True, eq=False)
class Filling:
    """Rates, and what it took to find them.

    Attributes:
        rate: [flows].
        rounds: sweeps over the flows that still grew.
        entries: flow-link pairs that were looked at, all rounds together.
    """

    rate: FloatArray
    rounds: int
    entries: int


def fair_rates(
    incidence: Incidence, room: FloatArray, weight: FloatArray, limit: FloatArray
) -> Filling:
    """Weighted max-min fair rates: none could be higher but at the cost of one that is no higher.

    Progressive filling: all flows grow together, each by its weight, and stop at the first of their
    links that is full. A link fills at the level (room / weighted shares of its growing flows). It
    is a bottleneck for certain if none of its flows meets a lower level elsewhere; all links of
    which that is true are filled in one round, not only the lowest, so that there are as many
    rounds as bottlenecks in the longest chain of them, not as many as different rates.

    Source: Bertsekas & Gallager 1992, "Data Networks", section 6.5.2 (max-min fair flow control);
        Ros-Giralt et al. 2019 (SIGMETRICS), "On the bottleneck structure of congestion-controlled
        networks" (bottlenecks as a partial order).

    Args:
        incidence: links of every flow.
        room: [links], what the flows may take of each.
        weight: [flows], positive; a flow of weight 2 gets twice what one of weight 1 gets.
        limit: [flows], the most that a flow can take, infinite where only links bound it; a flow
            without either is infinitely fast.
    """
    left = incidence
    rate = np.array(limit)
    rounds = looked_at = 0
    while len(left.flow):
        growth = left.share * weight[left.flow]
        demand = np.bincount(left.link, growth, minlength=len(room))
        level = np.divide(room, demand, out=np.full(len(room), np.inf), where=demand > 0)
        starts = np.flatnonzero(np.diff(left.flow, prepend=-1))
        flows = left.flow[starts]
        full = limit[flows] / weight[flows]
        stop = np.minimum(np.minimum.reduceat(level[left.link], starts), full)
        rows = np.repeat(np.arange(len(flows)), np.diff(starts, append=len(left.flow)))
        # The lowest level that any flow of a link meets.
        lowest = np.full(len(room), np.inf)
        np.minimum.at(lowest, left.link, stop[rows])
        bottleneck = lowest >= level * (1 - _SAME)
        stopped = np.logical_or.reduceat(bottleneck[left.link], starts) | (stop >= full)
        settled = np.where(stopped, weight[flows] * stop, 0.0)
        rate[flows[stopped]] = settled[stopped]
        gone = np.bincount(left.link, left.share * settled[rows], minlength=len(room))
        room = np.maximum(room - gone, 0.0)
        rounds += 1
        looked_at += len(left.flow)
        left = left.only(~stopped[rows])
    return Filling(rate, rounds, looked_at)


def few_fair_rates(
    flows: Mapping[int, Loads],
    room: Mapping[int, float],
    weight: Mapping[int, float],
    limit: Mapping[int, float],
) -> dict[int, float]:
    """The rates of ``fair_rates`` for a handful of flows, for which arrays would be slower.

    Args:
        flows: by any number, the links that each loads.
        room: of every link that is loaded.
        weight: of every flow.
        limit: of every flow.
    """
    rates: dict[int, float] = {}
    growing = dict(flows)
    rest = dict(room)
    while growing:
        demand: dict[int, float] = {}
        for key, loads in growing.items():
            for link, share in loads:
                demand[link] = demand.get(link, 0.0) + share * weight[key]
        levels = {link: max(rest[link], 0.0) / wanted for link, wanted in demand.items() if wanted}
        level = min(
            min(levels.values(), default=np.inf), min(limit[key] / weight[key] for key in growing)
        )
        full = {link for link, most in levels.items() if most <= level * (1 + _SAME)}
        for key, loads in list(growing.items()):
            if limit[key] / weight[key] <= level or any(link in full for link, _ in loads):
                rates[key] = min(level * weight[key], limit[key])
                del growing[key]
                for link, share in loads:
                    rest[link] -= share * rates[key]
    return rates
