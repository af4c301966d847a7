"""The rings of all groups of an axis at once: which nodes they visit and what each sends there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.numeric import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class NodeRing:
    """Rings of groups that visit the same nodes.

    Attributes:
        nodes: ascending, which is the order of the ring; the last returns to the first.
        bytes_per_s: sent from every node to the next by all of these rings at full speed.
    """

    nodes: IntArray
    bytes_per_s: float

    @property
    def num_nodes(self) -> int:
        """Nodes, and hops between them."""
        return len(self.nodes)


def sibling_rings(
    size: int, stride: int, shares_bytes_per_s: Sequence[float], num_ranks: int
) -> tuple[NodeRing, ...]:
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
    return tuple(
        NodeRing(np.unique(np.frombuffer(visits, dtype=np.int64)), bytes_per_s)
        for visits, bytes_per_s in sent.items()
    )


def _fewest(node: IntArray) -> FloatArray:
    """Members of every group on the node where it has fewest. [groups] of [groups, members]."""
    begins = np.ones(node.shape, dtype=bool)
    begins[:, 1:] = node[:, 1:] != node[:, :-1]
    counts = np.diff(np.append(np.flatnonzero(begins), node.size))
    of_group = np.cumsum(begins.sum(axis=1)) - begins.sum(axis=1)
    return np.minimum.reduceat(counts, of_group).astype(np.float64)
