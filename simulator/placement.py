"""Where the ranks of a process group lie: nodes, places in a node, tiers that its ring crosses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.numeric import IntArray


@dataclass(frozen=True, slots=True)
class Placement:
    """One group on the nodes.

    Rank r is device ``r % devices_per_node`` of node ``r // devices_per_node``.

    Attributes:
        num_nodes: nodes it lies on.
        fewest: members on the node that has fewest; they are what connects it to the others.
        local: places of its members on the node that has most.
        nodes: these nodes, ascending.
    """

    num_nodes: int
    fewest: int
    local: tuple[int, ...]
    nodes: IntArray

    @property
    def num_local(self) -> int:
        """Members on the node that has most."""
        return len(self.local)

    def crossing_fraction(self, nodes_per_block: int) -> float:
        """Share of the ring's hops from node to node that leave a block of nodes.

        The ring visits the nodes in order and returns to the first.
        """
        blocks = self.nodes // nodes_per_block
        return int(np.count_nonzero(blocks != np.roll(blocks, -1))) / self.num_nodes


def placements(
    size: int, stride: int, devices_per_node: int, num_ranks: int
) -> Iterator[Placement]:
    """The placements that occur among the sibling groups, each once up to a shift by nodes.

    Siblings differ by the device on which they start; groups that do not divide a node may
    straddle two, and some of them lie worse than the first.
    """
    span = size * stride
    blocks = max(1, num_ranks // span)
    # The last group may end before its stride does, as that of first and last stages.
    offsets = max(1, min(stride, devices_per_node, num_ranks - (size - 1) * stride))
    starts: dict[int, int] = {}
    for block in range(min(blocks, devices_per_node)):
        for offset in range(offsets):
            first = block * span + offset
            starts.setdefault(first % devices_per_node, first)
    for first in starts.values():
        yield _place(first + stride * np.arange(size), devices_per_node)


def _place(ranks: IntArray, devices_per_node: int) -> Placement:
    on_node, place = np.divmod(ranks, devices_per_node)
    nodes, counts = np.unique(on_node, return_counts=True)
    fullest = nodes[np.argmax(counts)]
    local = tuple(int(p) for p in place[on_node == fullest])
    return Placement(len(nodes), int(counts.min()), local, nodes)


def slowdown(
    placement: Placement, nodes_per_group: Sequence[int], oversubscription: Sequence[float]
) -> float:
    """How much the fabric slows the ring of a placement, all siblings included: at least 1.

    max over tiers t of o_t f_t, where f_t is the share of hops that cross tier t and o_t its
    oversubscription: a block of P nodes that injects P B has P B / o_t upwards, of which its rings
    need f_t P B.

    Assumes: rings visit nodes in order, as ranks are numbered along the fabric.
    """
    worst = 1.0
    below = 1
    for nodes, ratio in zip(nodes_per_group, oversubscription, strict=True):
        worst = max(worst, ratio * placement.crossing_fraction(below))
        below = nodes
    return worst
