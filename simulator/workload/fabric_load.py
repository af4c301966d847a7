"""Which links the messages of a job can fill: the others need not be simulated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from simulator.numeric import FloatArray
from simulator.workload.op import Flow

_FULL: Final = 1 + 1e-9
"""Load up to which a link slows nothing down: rounding of sums of shares."""

Users: TypeAlias = Mapping[int, Sequence[Sequence[Flow]]]
"""Streams, what each may have on the wires, one after another, and the flows of that."""


@dataclass(frozen=True, slots=True)
class FabricLoad:
    """What the messages of a whole job load.

    Attributes:
        links: that can be full, without those that never are before another is (all flows load
            that one as much or more).
        asked: [links], what all streams at once would take of each at full speed; 1 fills it.
        num_full: links of the fabric of which more is asked than they have.
    """

    links: tuple[int, ...]
    asked: tuple[float, ...]
    num_full: int

    def only(self, flow: Flow) -> Flow:
        """The part of a flow over ``links``, by their places there."""
        place = {link: number for number, link in enumerate(self.links)}
        return tuple((place[link], share) for link, share in flow if link in place)


def fabric_load(users: Users) -> FabricLoad:
    """The links of which all streams at once ask more than they have."""
    together: dict[int, float] = defaultdict(float)
    flows = {flow: None for sets in users.values() for flows in sets for flow in flows}
    for alternatives in users.values():
        most: dict[int, float] = {}
        for chosen in alternatives:
            own: dict[int, float] = defaultdict(float)
            for flow in chosen:
                for link, share in flow:
                    own[link] += share
            for link, share in own.items():
                most[link] = max(most.get(link, 0.0), share)
        for link, share in most.items():
            together[link] += share
    full = sorted(link for link, asked in together.items() if asked > _FULL)
    kept = tuple(full[place] for place in _first_to_fill(_shares(list(flows), full)))
    return FabricLoad(kept, tuple(together[link] for link in kept), len(full))


def _shares(flows: Sequence[Flow], links: Sequence[int]) -> FloatArray:
    """[links, flows], what each flow takes of each link."""
    place = {link: number for number, link in enumerate(links)}
    shares = np.zeros((len(links), len(flows)))
    for column, flow in enumerate(flows):
        for link, share in flow:
            if link in place:
                shares[place[link], column] = share
    return shares


def _first_to_fill(shares: FloatArray) -> list[int]:
    """Links, but for those of which no flow takes more than of one that stays.

    Such a link bounds nothing that the other does not: whoever is on the wires, less is taken of
    it. The rates of all flows are the same without it.
    """
    on = shares > 0
    crowd = on.sum(axis=0)
    kept: list[int] = []
    # Those of which most is taken come first, so that all that could stand for one are known.
    order = np.lexsort((np.arange(len(shares)), -shares.sum(axis=1)))
    by_flow: dict[int, list[int]] = defaultdict(list)
    for link in order.tolist():
        own = np.flatnonzero(on[link])
        others = by_flow[int(own[np.argmin(crowd[own])])]
        if others and (shares[others][:, own] >= shares[link, own]).all(axis=1).any():
            continue
        kept.append(link)
        for flow in own.tolist():
            by_flow[flow].append(link)
    return sorted(kept)
