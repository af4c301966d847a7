"""What the network of a cluster does to traffic between all of its nodes at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from simulator.errors import PlanError
from simulator.fabric.cluster import Routing, network_of
from simulator.fabric.fat_tree import Spreading
from simulator.fabric.links import Fabric
from simulator.fabric.permutation import PermutationLoss, permutation_loss
from simulator.machine import Cluster
from simulator.progress import Progress, followed, silent
from simulator.wiring import DragonflyWiring, GraphWiring

_WAYS: Final[Mapping[str, tuple[Spreading, int]]] = {
    "packets sprayed": ("sprayed", 1),
    "hashed, one connection": ("ecmp", 1),
    "hashed, four connections": ("ecmp", 4),
}


def traffic_losses(cluster: Cluster, progress: Progress = silent) -> dict[str, PermutationLoss]:
    """Slowdowns when every node sends to another one, by how flows are spread.

    Only trees spread packets; on a dragonfly every flow takes its direct way.

    Raises:
        PlanError: if there is one node, or devices are joined by a torus.
    """
    if cluster.num_nodes == 1:
        raise PlanError(
            f"{cluster.name} is one node: there is no traffic between nodes", where="cluster.nodes"
        )

    def networks(spreading: Spreading, seed: int) -> Fabric:
        return network_of(cluster, Routing(spreading=spreading, seed=seed))

    sprays = not isinstance(cluster.fabric, DragonflyWiring | GraphWiring)
    ways = [way for way, (spreading, _) in _WAYS.items() if spreading == "ecmp" or sprays]
    return {
        way: permutation_loss(networks, cluster.node.num_nics, spreading, connections=connections)
        for way in followed(ways, "Sending from all nodes", progress)
        for spreading, connections in (_WAYS[way],)
    }


def traffic_rows(losses: Mapping[str, PermutationLoss]) -> list[tuple[str, str, str]]:
    """A row per way of spreading, as words."""
    return [(way, f"{loss.slowest:.1f} x", f"{loss.mean:.1f} x") for way, loss in losses.items()]


def traffic_record(losses: Mapping[str, PermutationLoss]) -> list[Mapping[str, object]]:
    """The same as JSON data."""
    return [
        {
            "spreading": _WAYS[way][0],
            "connections": _WAYS[way][1],
            "slowest_slowdown": loss.slowest,
            "mean_slowdown": loss.mean,
        }
        for way, loss in losses.items()
    ]
