"""Where the ranks of a process group lie: nodes, places in a node, tiers that its ring crosses."""

from __future__ import annotations

from collections.abc import Iterator
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


def crossing_fraction(blocks: IntArray) -> float:
    """Share of a ring's hops from node to node that leave a block of nodes.

    A block of P nodes that injects P B has P B / o upwards, o being the oversubscription, of which
    its rings need f P B, f being this share.

    Args:
        blocks: [nodes], the block of each node, in the order of the ring, which returns to the
            first.

    Assumes: ranks are numbered along the fabric; siblings fill the blocks.
    """
    return int(np.count_nonzero(blocks != np.roll(blocks, -1))) / blocks.size


def exchanged_fraction(blocks: IntArray) -> float:
    """The same of an all-to-all: sum n_b (N - n_b) / (N (N - 1)), n_b of N nodes being in block b.

    Args:
        blocks: [nodes], the block of each node.
    """
    if blocks.size == 1:
        return 0.0
    _, counts = np.unique(blocks, return_counts=True)
    return int(np.sum(counts * (blocks.size - counts))) / (blocks.size * (blocks.size - 1))


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
