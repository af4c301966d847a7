"""The rings of all groups of an axis at once: which nodes they visit and what each sends there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.numeric import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class NodeRings:
    """Rings over as many nodes each; those of groups that visit the same nodes count as one.

    Attributes:
        nodes: [rings, nodes], ascending, which is the order of a ring; the last returns to the
            first.
        bytes_per_s: [rings], sent from every node to the next at full speed.
    """

    nodes: IntArray
    bytes_per_s: FloatArray

    @property
    def following(self) -> IntArray:
        """Where every node sends. [rings, nodes]."""
        return np.roll(self.nodes, -1, axis=1)

    @property
    def num_nodes(self) -> int:
        """Nodes of a ring, and hops between them."""
        return self.nodes.shape[1]


def sibling_rings(
    size: int, stride: int, shares_bytes_per_s: Sequence[float], num_ranks: int
) -> tuple[NodeRings, ...]:
    """Rings between nodes of all sibling groups; those inside one node are left out.

    A group runs as many rings as its node with the fewest members has, each at a member's share of
    the NICs.

    Args:
        size: ranks of a group.
        stride: ranks between two of its members.
        shares_bytes_per_s: [devices of a node], shares of the NICs.
        num_ranks: ranks in use.
    """
    per_node, shares = len(shares_bytes_per_s), np.array(shares_bytes_per_s)
    first = np.arange(max(1, num_ranks - (size - 1) * stride))
    first = first[first % (size * stride) < stride]
    node, place = np.divmod(first[:, None] + stride * np.arange(size), per_node)
    rate = _fewest(node) * shares[place].min(axis=1)
    leaves = node[:, 0] != node[:, -1]
    sent: dict[bytes, float] = defaultdict(float)
    for visits, bytes_per_s in zip(node[leaves], rate[leaves].tolist(), strict=True):
        sent[visits.tobytes()] += bytes_per_s
    visited = np.frombuffer(b"".join(sent), dtype=np.int64).reshape(-1, size)
    return _by_number_of_nodes(visited, np.array(list(sent.values())))


def _begins(node: IntArray) -> BoolArray:
    """Where a row goes on to another node. [groups, members]."""
    begins = np.ones(node.shape, dtype=np.bool_)
    begins[:, 1:] = node[:, 1:] != node[:, :-1]
    return begins


def _fewest(node: IntArray) -> FloatArray:
    """Members of every group on the node where it has fewest. [groups] of [groups, members]."""
    begins = _begins(node)
    counts = np.diff(np.append(np.flatnonzero(begins), node.size))
    of_group = np.cumsum(begins.sum(axis=1)) - begins.sum(axis=1)
    return np.minimum.reduceat(counts, of_group).astype(np.float64)


def _by_number_of_nodes(node: IntArray, bytes_per_s: FloatArray) -> tuple[NodeRings, ...]:
    """From the nodes of the members of every group. [groups, members]."""
    begins = _begins(node)
    count = begins.sum(axis=1)
    return tuple(
        NodeRings(node[count == n][begins[count == n]].reshape(-1, n), bytes_per_s[count == n])
        for n in np.unique(count).tolist()
    )
