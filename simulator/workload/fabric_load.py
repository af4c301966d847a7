"""Which links the messages of a job can fill: the others need not be simulated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from simulator.numeric import FloatArray
from simulator.workload.op import Flow

_FULL: Final = 1 + 1e-9
"""Load up to which a link slows nothing down: rounding of sums of shares."""

Users: TypeAlias = Mapping[int, Sequence[Mapping[int, Flow]]]
"""Streams, the messages that each may have on the wires, and the flow of every device that runs
one: a device runs one after another, but other devices may be at other messages by then."""


@dataclass(frozen=True, slots=True)
class FabricLoad:
    """What the messages of a whole job load.

    Attributes:
        links: that can be full, without those that never are before another is (all flows load
            that one as much or more).
        asked: [links], what all streams at once would take of each at full speed, the devices of
            each in step; 1 fills it. Less than that fills a link only where devices are not.
        num_full: links of the fabric that can be full.
    """

    links: tuple[int, ...]
    asked: tuple[float, ...]
    num_full: int

    def only(self, flow: Flow) -> Flow:
        """The part of a flow over ``links``, by their places there."""
        place = {link: number for number, link in enumerate(self.links)}
        return tuple((place[link], share) for link, share in flow if link in place)


def fabric_load(users: Users) -> FabricLoad:
    """The links that can fill: each device at that of its messages which takes most of them."""
    flows = list({flow: None for sent in _sent(users) for flow in sent.values()})
    could: dict[int, float] = defaultdict(float)
    for alternatives in users.values():
        own: dict[int, list[Flow]] = defaultdict(list)
        for message in alternatives:
            for device, flow in message.items():
                own[device].append(flow)
        for one_of in own.values():
            _add(could, _most(one_of))
    full = sorted(link for link, share in could.items() if share > _FULL)
    kept = tuple(full[place] for place in _first_to_fill(_shares(flows, full)))
    asked = _asked_in_step(users)
    return FabricLoad(kept, tuple(asked[link] for link in kept), len(full))


def _asked_in_step(users: Users) -> dict[int, float]:
    """Of every link, what all streams take together, all devices of each at one message."""
    together: dict[int, float] = defaultdict(float)
    for alternatives in users.values():
        sums: list[Flow] = []
        for message in alternatives:
            whole: dict[int, float] = defaultdict(float)
            for flow in message.values():
                _add(whole, flow)
            sums.append(tuple(whole.items()))
        _add(together, _most(sums))
    return together


def _sent(users: Users) -> Iterator[Mapping[int, Flow]]:
    for alternatives in users.values():
        yield from alternatives


def _most(alternatives: Sequence[Flow]) -> Flow:
    """Of every link, the most that one of some flows takes."""
    most: dict[int, float] = {}
    for flow in alternatives:
        for link, share in flow:
            most[link] = max(most.get(link, 0.0), share)
    return tuple(most.items())


def _add(taken: dict[int, float], flow: Flow) -> None:
    for link, share in flow:
        taken[link] += share


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
