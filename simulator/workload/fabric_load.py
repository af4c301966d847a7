"""Which links the messages of a job can fill: the others need not be simulated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from simulator.workload.op import Flow

_FULL: Final = 1 + 1e-9
"""Load up to which a link slows nothing down: rounding of sums of shares."""

Users: TypeAlias = Mapping[int, Sequence[Sequence[Flow]]]
"""Streams, what each may have on the wires, one after another, and the flows of that."""


@dataclass(frozen=True, slots=True)
class FabricLoad:
    """What the messages of a whole job load.

    Attributes:
        links: that can be full; of links that all messages load alike only the first.
        asked: [links], what all streams at once would take of each at full speed; 1 fills it.
        number: link -> its place in ``links``, or that of the one that stands for it.
    """

    links: tuple[int, ...]
    asked: tuple[float, ...]
    number: Mapping[int, int]

    def only(self, flow: Flow) -> Flow:
        """The part of a flow over links that can fill, by their places in ``links``."""
        number = self.number
        return tuple(
            sorted({number[link]: share for link, share in flow if link in number}.items())
        )


def fabric_load(users: Users) -> FabricLoad:
    """The links of which all streams at once ask more than they have."""
    together: dict[int, float] = defaultdict(float)
    loads: dict[int, list[tuple[int, float]]] = defaultdict(list)
    number_of: dict[Flow, int] = {}
    for alternatives in users.values():
        most: dict[int, float] = {}
        for flows in alternatives:
            own: dict[int, float] = defaultdict(float)
            for flow in flows:
                place = number_of.setdefault(flow, len(number_of))
                for link, share in flow:
                    own[link] += share
                    loads[link].append((place, share))
            for link, share in own.items():
                most[link] = max(most.get(link, 0.0), share)
        for link, share in most.items():
            together[link] += share
    numbers: dict[tuple[tuple[int, float], ...], int] = {}
    links: list[int] = []
    number: dict[int, int] = {}
    for link, users_of in loads.items():
        if together[link] > _FULL:
            number[link] = numbers.setdefault(tuple(users_of), len(numbers))
            if number[link] == len(links):
                links.append(link)
    return FabricLoad(tuple(links), tuple(together[link] for link in links), number)
