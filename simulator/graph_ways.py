"""The ways between the nodes of a graph of links, all at once, spread evenly over equal ones.

A way has the fewest links; where several neighbours are nearest to the target, each gets as much,
which is what hashes do in the mean (``fabric/graph.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.errors import PlanError
from simulator.machine import Cluster
from simulator.numeric import BoolArray, FloatArray, IntArray
from simulator.wiring import GraphWiring


@dataclass(frozen=True, slots=True, eq=False)
class GraphWays:
    """Links of a graph in the order of the part they leave; nodes are its first parts.

    Attributes:
        head: [links], part to which a link leads.
        leaves: [parts], first link of every part.
        capacity_bytes_per_s: [links].
        nearer: [links, nodes], whether a link leads nearer to a node.
        latency_s: [nodes, nodes], of the slowest of the ways from one to another.
    """

    num_nodes: int
    head: IntArray
    leaves: IntArray
    capacity_bytes_per_s: FloatArray
    nearer: BoolArray
    latency_s: FloatArray
    longest: int

    @classmethod
    def of(cls, cluster: Cluster, wiring: GraphWiring) -> GraphWays:
        """The ways between the nodes of a cluster.

        Raises:
            PlanError: if the links leave a node out.
        """
        count = cluster.num_nodes
        parts = {f"node{i}": i for i in range(count)}
        lanes: dict[tuple[int, int], tuple[float, float]] = {}
        for a, b, bytes_per_s, latency_s in wiring.links:
            ends = tuple(parts.setdefault(part, len(parts)) for part in (a, b))
            for way in (ends, ends[::-1]):
                width, late_s = lanes.get((way[0], way[1]), (0.0, 0.0))
                lanes[way[0], way[1]] = (width + bytes_per_s, max(late_s, latency_s))
        table = sorted((tail, head, *lane) for (tail, head), lane in lanes.items())
        tail, head = (np.array([row[i] for row in table], dtype=np.int64) for i in (0, 1))
        width, late_s = (np.array([row[i] for row in table]) for i in (2, 3))
        _check_linked(cluster.name, tail, count, len(parts))
        leaves = np.searchsorted(tail, np.arange(len(parts)))
        distance = _distances(head, leaves, count)
        _check_reached(cluster.name, distance, count)
        known = np.isfinite(distance)
        nearer = (distance[tail] == distance[head] + 1) & known[tail]
        longest = int(distance[known].max())
        latency = np.zeros((len(parts), count))
        for _ in range(longest):
            passed = np.where(nearer, late_s[:, None] + latency[head], 0.0)
            latency = np.maximum.reduceat(passed, leaves, axis=0)
        return cls(count, head, leaves, width, nearer, latency[:count], longest)

    def loads(self, sent_bytes_per_s: FloatArray) -> FloatArray:
        """What every link carries. [links].

        Args:
            sent_bytes_per_s: [nodes, nodes], from one to another; the diagonal does not count.
        """
        parts = len(self.leaves)
        sent = np.zeros((parts, self.num_nodes))
        sent[: self.num_nodes] = sent_bytes_per_s
        np.fill_diagonal(sent, 0.0)
        ways = np.add.reduceat(self.nearer, self.leaves, axis=0, dtype=np.float64)
        tail = np.repeat(np.arange(parts), np.diff(np.append(self.leaves, len(self.head))))
        order = np.argsort(self.head, kind="stable")
        enters = np.searchsorted(self.head[order], np.arange(parts))
        passing = sent
        carried = np.zeros(self.nearer.shape)
        # Nothing takes more links than the longest way: then all has arrived everywhere.
        for _ in range(self.longest):
            each = passing / np.maximum(ways, 1.0)
            carried = np.where(self.nearer, each[tail], 0.0)
            passing = sent + np.add.reduceat(carried[order], enters, axis=0)
        total: FloatArray = carried.sum(axis=1)
        return total

    def fullest(self, sent_bytes_per_s: FloatArray) -> float:
        """What the fullest link is asked to carry over what it can; see ``loads``."""
        return float((self.loads(sent_bytes_per_s) / self.capacity_bytes_per_s).max())

    def path_slowdowns(self, sent_bytes_per_s: FloatArray) -> FloatArray:
        """The same of the links between each two nodes, at least 1. [nodes, nodes]."""
        asked = self.loads(sent_bytes_per_s) / self.capacity_bytes_per_s
        worst = np.ones((len(self.leaves), self.num_nodes))
        for _ in range(self.longest):
            passed = np.where(self.nearer, np.maximum(asked[:, None], worst[self.head]), 1.0)
            worst = np.maximum.reduceat(passed, self.leaves, axis=0)
        return worst[: self.num_nodes]


def _distances(head: IntArray, leaves: IntArray, num_nodes: int) -> FloatArray:
    """Links from every part to every node. [parts, nodes]."""
    distance = np.full((len(leaves), num_nodes), np.inf)
    np.fill_diagonal(distance, 0.0)
    while True:
        nearer = np.minimum(distance, 1 + np.minimum.reduceat(distance[head], leaves, axis=0))
        if np.array_equal(nearer, distance):
            return distance
        distance = nearer


def _check_linked(name: str, tail: IntArray, num_nodes: int, num_parts: int) -> None:
    alone = np.flatnonzero(np.bincount(tail, minlength=num_parts) == 0)
    if alone.size:
        raise _cut_off(name, int(alone[0]), num_nodes)


def _check_reached(name: str, distance: FloatArray, num_nodes: int) -> None:
    missing = np.flatnonzero(np.isinf(distance[:num_nodes, 0]))
    if missing.size:
        raise _cut_off(name, int(missing[0]), num_nodes)


def _cut_off(name: str, node: int, num_nodes: int) -> PlanError:
    other = 0 if node else min(1, num_nodes - 1)
    return PlanError(
        f"graph of {name}: no way from 'node{other}' to 'node{node}'",
        where="cluster.fabric",
        hint="every node needs a link, over switches or directly, to all others",
    )
