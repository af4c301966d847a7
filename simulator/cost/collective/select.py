"""The table of algorithms, and the time of the one a collective library would choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from simulator.cost.collective.all_to_all import all_to_all_s
from simulator.cost.collective.in_network import in_network_s
from simulator.cost.collective.ring import ring_s
from simulator.cost.collective.tree import tree_s
from simulator.cost.collective.volume import CollectiveKind
from simulator.machine import GroupLink
from simulator.numeric import Numeric

TimeFunction: TypeAlias = Callable[[CollectiveKind, Numeric, GroupLink], Numeric]
"""(kind, payload_bytes, link) -> seconds, for groups of two or more; infinite where it cannot run.
"""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A way to run some kinds of collectives."""

    kinds: frozenset[CollectiveKind]
    time_s: TimeFunction


ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    "ring": Algorithm(
        frozenset({"all_reduce", "all_gather", "reduce_scatter", "broadcast"}), ring_s
    ),
    "tree": Algorithm(frozenset({"all_reduce"}), tree_s),
    "in_network": Algorithm(frozenset({"all_reduce"}), in_network_s),
    "all_to_all": Algorithm(frozenset({"all_to_all"}), all_to_all_s),
}
"""All algorithms. To add one: a file with its ``TimeFunction`` and a line here."""


def collective_s(
    kind: CollectiveKind,
    payload_bytes: Numeric,
    link: GroupLink,
    *,
    algorithms: Mapping[str, Algorithm] = ALGORITHMS,
) -> Numeric:
    """Time of the fastest algorithm that runs ``kind``; 0 for a group of one rank.

    Args:
        kind: what is communicated.
        payload_bytes: nccl-tests convention, see ``volume.py``.
        link: what the group sees of the machine.
        algorithms: among which to choose; at least one must run ``kind``.

    Assumes: the library's tuner finds the fastest one.
    """
    times_s = [a.time_s(kind, payload_bytes, link) for a in algorithms.values() if kind in a.kinds]
    fastest_s = times_s[0]
    for time_s in times_s[1:]:
        fastest_s = np.minimum(fastest_s, time_s)
    return np.where(link.size > 1.0, fastest_s, 0.0)[()]
