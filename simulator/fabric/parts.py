"""Small fabrics given by their links: what is inside a node, PCIe trees, NVLink meshes.

Parts pass on what is not for them. A route has the fewest links and, among those, is the widest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from simulator.errors import PlanError
from simulator.fabric.links import NO_LINK, Fabric, Lane, LinkTable
from simulator.machine import Edge
from simulator.numeric import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class _TableRouter:
    """A row of links per pair of endpoints. [endpoints, endpoints, hops]."""

    table: IntArray

    def routes(self, source: IntArray, target: IntArray, key: IntArray) -> IntArray:
        """See ``links.Router``."""
        return self.table[source, target]


def linked_parts(name: str, edges: Sequence[Edge], endpoints: Sequence[str]) -> Fabric:
    """A fabric of links between parts, both ways each; parallel links act as one.

    Args:
        name: of the fabric.
        edges: its links; bandwidth is per direction.
        endpoints: the parts that send and receive, in the order of their numbers.

    Raises:
        PlanError: if an endpoint cannot be reached from another.
    """
    table = LinkTable()
    leaving: dict[str, list[tuple[str, int]]] = {}
    for (a, b), link in table.add_edges(edges).items():
        leaving.setdefault(a, []).append((b, link))
    width = table.capacity_bytes_per_s
    found = [_widest_of_shortest(part, leaving, width) for part in endpoints]
    for part, reached in zip(endpoints, found, strict=True):
        missing = [other for other in endpoints if other not in reached]
        if missing:
            raise PlanError(f"{name}: no way from '{part}' to '{missing[0]}'")
    hops = max((len(route) for reached in found for route in reached.values()), default=0)
    rows = [[_row(reached[other], hops) for other in endpoints] for reached in found]
    router = _TableRouter(np.array(rows, dtype=np.int64).reshape(len(rows), len(rows), hops))
    return table.fabric(name, len(endpoints), router)


def _row(route: tuple[int, ...], hops: int) -> list[int]:
    return [*route, *[NO_LINK] * (hops - len(route))]


def _widest_of_shortest(
    start: str, leaving: dict[str, list[tuple[str, int]]], width: FloatArray
) -> dict[str, tuple[int, ...]]:
    """Best route to every part that can be reached."""
    best: dict[str, tuple[int, ...]] = {start: ()}
    narrowest = {start: np.inf}
    frontier: Iterable[str] = [start]
    while frontier:
        found: dict[str, tuple[int, ...]] = {}
        for part in frontier:
            for neighbour, link in leaving.get(part, ()):
                if neighbour in best:
                    continue
                wide = min(narrowest[part], float(width[link]))
                if neighbour not in found or wide > narrowest[neighbour]:
                    found[neighbour], narrowest[neighbour] = (*best[part], link), wide
        best |= found
        frontier = list(found)
    return best


def mesh(num_devices: int, links: Sequence[tuple[int, int]], lane: Lane) -> Fabric:
    """Devices joined directly (NVLink without a switch).

    Args:
        num_devices: devices.
        links: pairs that are joined; a pair that occurs n times has n links, which act as one.
        lane: one link.
    """
    edges = [Edge(f"gpu{a}", f"gpu{b}", lane.bytes_per_s, lane.latency_s) for a, b in links]
    return linked_parts(f"mesh of {num_devices}", edges, _devices(num_devices))


def full_mesh(num_devices: int, lane: Lane) -> Fabric:
    """Every device joined to every other one."""
    pairs = [(a, b) for b in range(num_devices) for a in range(b)]
    return mesh(num_devices, pairs, lane)


def pcie_tree(num_devices: int, switches: int, sockets: int, lane: Lane, between: Lane) -> Fabric:
    """Devices below PCIe switches below processors, spread evenly.

    Args:
        num_devices: devices.
        switches: PCIe switches; 0 to hang devices on the processors.
        sockets: processors, in a ring.
        lane: a PCIe link.
        between: the link between two processors.
    """
    edges = [
        Edge(f"cpu{i}", f"cpu{(i + 1) % sockets}", between.bytes_per_s, between.latency_s)
        for i in range(sockets if sockets > 2 else sockets - 1)
    ]
    below = [(f"pcie{i}", f"cpu{i * sockets // switches}") for i in range(switches)]
    places = [f"pcie{i}" for i in range(switches)] or [f"cpu{i}" for i in range(sockets)]
    below += [(f"gpu{i}", places[i * len(places) // num_devices]) for i in range(num_devices)]
    edges += [Edge(a, b, lane.bytes_per_s, lane.latency_s) for a, b in below]
    return linked_parts(f"PCIe tree of {num_devices}", edges, _devices(num_devices))


def _devices(count: int) -> list[str]:
    return [f"gpu{i}" for i in range(count)]
