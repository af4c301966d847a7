"""The table of algorithms, and the time of the one a collective library would choose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from simulator.cost.collective.all_to_all import all_to_all_s
from simulator.cost.collective.collnet import collnet_s
from simulator.cost.collective.halving_doubling import halving_doubling_s
from simulator.cost.collective.hierarchical import hierarchical_s
from simulator.cost.collective.in_network import in_network_s
from simulator.cost.collective.pat import pat_s
from simulator.cost.collective.ring import ring_s
from simulator.cost.collective.torus import bucket_s, torus_s
from simulator.cost.collective.tree import tree_s
from simulator.cost.collective.volume import CollectiveKind
from simulator.machine import USUAL_ALGORITHMS, GroupLink
from simulator.numeric import Numeric

TimeFunction: TypeAlias = Callable[[CollectiveKind, Numeric, GroupLink], Numeric]
"""(kind, payload_bytes, link) -> seconds, for groups of two or more; infinite where it cannot run.
"""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A way to run some kinds of collectives.

    Attributes:
        in_switches: only where the switches between nodes add.
    """

    kinds: frozenset[CollectiveKind]
    time_s: TimeFunction
    in_switches: bool = False


_HALVES: Final[tuple[CollectiveKind, ...]] = ("all_gather", "reduce_scatter")
_REDUCED: Final[tuple[CollectiveKind, ...]] = ("all_reduce", *_HALVES)

ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    "ring": Algorithm(frozenset({*_REDUCED, "broadcast"}), ring_s),
    "tree": Algorithm(frozenset({"all_reduce"}), tree_s),
    "in_network": Algorithm(frozenset({"all_reduce"}), in_network_s),
    "all_to_all": Algorithm(frozenset({"all_to_all"}), all_to_all_s),
    "hierarchical": Algorithm(frozenset(_REDUCED), hierarchical_s),
    "halving_doubling": Algorithm(frozenset(_REDUCED), halving_doubling_s),
    "pat": Algorithm(frozenset(_HALVES), pat_s),
    "collnet": Algorithm(frozenset({"all_reduce"}), collnet_s, in_switches=True),
    "torus": Algorithm(frozenset(_REDUCED), torus_s),
    "bucket": Algorithm(frozenset(_REDUCED), bucket_s),
}
"""All algorithms. To add one: a file with its ``TimeFunction`` and a line here; a machine has it
once its cluster names it (``machine.Cluster.collective_algorithms``)."""


def collective_s(
    kind: CollectiveKind,
    payload_bytes: Numeric,
    link: GroupLink,
    *,
    algorithms: Mapping[str, Algorithm] | None = None,
) -> Numeric:
    """Time of the fastest algorithm that runs ``kind``; 0 for a group of one rank.

    Args:
        kind: what is communicated.
        payload_bytes: nccl-tests convention, see ``volume.py``.
        link: what the group sees of the machine.
        algorithms: among which to choose; by default those of the link, and the usual ones where
            none of those runs ``kind`` on this group.

    Assumes: the library's tuner finds the fastest one.
    """
    if algorithms is not None:
        fastest_s = _fastest_s(kind, payload_bytes, link, algorithms.values())
    else:
        fastest_s = _library_s(kind, payload_bytes, link, link.algorithms)
        if link.algorithms != USUAL_ALGORITHMS:
            usual_s = _library_s(kind, payload_bytes, link, USUAL_ALGORITHMS)
            fastest_s = np.where(np.isfinite(fastest_s), fastest_s, usual_s)
    return np.where(link.size > 1.0, fastest_s, 0.0)[()]


def weighs_rings(kind: CollectiveKind, link: GroupLink, names: Iterable[str]) -> Numeric:
    """Whether a library that has ``names`` considers a ring at all.

    Not for an all-reduce of two nodes with several ranks each, where ``two_node_trees`` says that
    it takes trees there.

    Source: aws/aws-ofi-nccl, src/tuner/nccl_ofi_regions.c: of 16 ranks on two p5 all sizes lie in
        the regions of trees, with one rank per node in those of rings.
    """
    if kind != "all_reduce" or "tree" not in names:
        return True
    two_full_nodes = np.logical_and(link.num_nodes == 2.0, link.size > link.num_nodes)
    return np.logical_not(np.logical_and(two_full_nodes, link.network_two_node_trees > 0.0))


def _library_s(
    kind: CollectiveKind, payload_bytes: Numeric, link: GroupLink, names: tuple[str, ...]
) -> Numeric:
    """The fastest of what a library with ``names`` considers."""
    others = [ALGORITHMS[name] for name in names if name != "ring"]
    fastest_s = _fastest_s(kind, payload_bytes, link, others)
    if "ring" not in names:
        return fastest_s
    rings_s = _fastest_s(kind, payload_bytes, link, [ALGORITHMS["ring"]])
    return np.where(weighs_rings(kind, link, names), np.minimum(rings_s, fastest_s), fastest_s)


def _fastest_s(
    kind: CollectiveKind, payload_bytes: Numeric, link: GroupLink, among: Iterable[Algorithm]
) -> Numeric:
    """Infinite where none runs."""
    times_s = [a.time_s(kind, payload_bytes, link) for a in among if kind in a.kinds]
    fastest_s = times_s[0] if times_s else np.full(np.shape(payload_bytes), np.inf)
    for time_s in times_s[1:]:
        fastest_s = np.minimum(fastest_s, time_s)
    return fastest_s
