"""A fabric of any shape, given by its links: shortest paths, spread over equals by hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import networkx as nx
import numpy as np

from simulator.errors import PlanError
from simulator.fabric.hashing import choice
from simulator.fabric.links import NO_LINK, Fabric, LinkTable
from simulator.machine import Edge
from simulator.numeric import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class _GraphRouter:
    """Every switch passes a flow on to one of its neighbours that are nearest to the target.

    Attributes:
        graph: directed; an edge has its ``link``.
        endpoints: names.
        distances: to a target, in links; found when they are first asked for.
    """

    seed: int
    graph: nx.DiGraph[str]
    endpoints: tuple[str, ...]
    distances: dict[str, dict[str, int]] = field(default_factory=dict[str, dict[str, int]])

    def routes(self, source: IntArray, target: IntArray, key: IntArray) -> IntArray:
        """See ``links.Router``."""
        found = [
            self._route(*row)
            for row in zip(source.tolist(), target.tolist(), key.tolist(), strict=True)
        ]
        hops = max((len(route) for route in found), default=0)
        rows = [[*route, *[NO_LINK] * (hops - len(route))] for route in found]
        return np.array(rows, dtype=np.int64).reshape(len(found), hops)

    def _route(self, source: int, target: int, key: int) -> list[int]:
        at, goal = self.endpoints[source], self.endpoints[target]
        distance = self.distance(goal)
        links: list[int] = []
        flow = [np.array([number]) for number in (source, target, key)]
        while at != goal:
            nearer = sorted(
                (self.graph.edges[at, other]["link"], other)
                for other in self.graph.successors(at)
                if distance.get(other, len(distance)) == distance[at] - 1
            )
            taken = int(choice(len(nearer), self.seed + len(links), *flow)[0])
            link, at = nearer[taken]
            links.append(link)
        return links

    def distance(self, goal: str) -> dict[str, int]:
        """Links to a target from every part that reaches it."""
        if goal not in self.graph:
            return {goal: 0}
        if goal not in self.distances:
            backwards = self.graph.reverse(copy=False)
            self.distances[goal] = dict(nx.single_source_shortest_path_length(backwards, goal))
        return self.distances[goal]


def graph_fabric(
    name: str, edges: Sequence[Edge], endpoints: Sequence[str], *, seed: int = 0
) -> Fabric:
    """A fabric of links between named parts, both ways each; parallel links act as one.

    Args:
        name: of the fabric.
        edges: its links; bandwidth is per direction.
        endpoints: the parts that send and receive, in the order of their numbers.
        seed: of the hash.

    Raises:
        PlanError: if an endpoint has no link or is cut off from the others.
    """
    graph: nx.DiGraph[str] = nx.DiGraph()
    table = LinkTable()
    for (a, b), link in table.add_edges(edges).items():
        graph.add_edge(a, b, link=link)
    router = _GraphRouter(seed, graph, tuple(endpoints))
    for part in endpoints:
        if part not in router.distance(endpoints[0]):
            raise PlanError(
                f"{name}: no way from '{endpoints[0]}' to '{part}'",
                hint="every endpoint needs a link, over switches or directly, to all others",
            )
    return table.fabric(name, len(endpoints), router)
