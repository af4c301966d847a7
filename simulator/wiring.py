"""Frozen facts: how the network between nodes is wired, where tiers alone do not say it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class TreeWiring:
    """A fat tree of the cluster's tiers; rail-optimised, a leaf for each NIC of a group's nodes."""

    rail_optimised: bool = False


@dataclass(frozen=True, slots=True)
class DragonflyWiring:
    """Groups of switches, those of the lowest tier; every link is as fast as a NIC.

    Attributes:
        switches_per_group: each joined to all others of its group.
        global_links: between each two groups.
        routing: which ways flows take, see ``fabric.dragonfly``.
    """

    switches_per_group: int
    global_links: int
    routing: Literal["minimal", "valiant", "adaptive"]


@dataclass(frozen=True, slots=True)
class Torus:
    """Devices on a torus with wrap links (TPU pods): no NIC inside the pod.

    Attributes:
        shape: devices along each dimension.
        link_bytes_per_s: one link, per direction.
        hop_s: latency of one hop.
        wraps: whether each dimension has wrap links; empty if all have.
    """

    shape: tuple[int, ...]
    link_bytes_per_s: float
    hop_s: float
    wraps: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class TorusWiring:
    """The cluster's torus.

    Attributes:
        twisted: whether wrap links of axes half as long as the longest land half of that length
            further along it.
    """

    twisted: bool = False


@dataclass(frozen=True, slots=True)
class PodsWiring:
    """Slices of the torus joined by the NICs of their hosts over the cluster's tiers.

    Attributes:
        shape: devices of a pod along each axis.
    """

    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WanWiring:
    """Sites of nodes, each pair joined by a link of its own.

    Attributes:
        nodes_per_site: nodes; within a site the cluster's tiers hold.
        bytes_per_s: of a site's way out, per direction.
        latency_s: between two sites.
    """

    nodes_per_site: int
    bytes_per_s: float
    latency_s: float


@dataclass(frozen=True, slots=True)
class GraphWiring:
    """Links between nodes (``node0``, ``node1``, ...) and switches of any name.

    Attributes:
        links: ends, bandwidth per direction, latency.
    """

    links: tuple[tuple[str, str, float, float], ...]


NetworkWiring: TypeAlias = (
    TreeWiring | DragonflyWiring | TorusWiring | PodsWiring | WanWiring | GraphWiring
)


def rescaled(
    wiring: NetworkWiring | None, *, width: float = 1.0, latency: float = 1.0
) -> NetworkWiring | None:
    """The same with other links between sites, or in a graph; others go by tiers and tori.

    Args:
        wiring: None where there is no description.
        width: factor on their bandwidth.
        latency: factor on theirs.
    """
    match wiring:
        case WanWiring(_, bytes_per_s, latency_s):
            return replace(wiring, bytes_per_s=bytes_per_s * width, latency_s=latency_s * latency)
        case GraphWiring(links):
            return GraphWiring(
                tuple((a, b, rate * width, late_s * latency) for a, b, rate, late_s in links)
            )
        case _:
            return wiring
