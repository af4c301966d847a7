"""The fabric of a described cluster: its nodes, link by link, and the network that joins them.

Endpoints are devices, numbered as ranks are: rank = node * devices per node + place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from simulator.errors import PlanError
from simulator.fabric.dragonfly import DragonflyShape, dragonfly
from simulator.fabric.fat_tree import Spreading, Tree, fat_tree
from simulator.fabric.graph import graph_fabric
from simulator.fabric.joined import Unit, joined, with_gateways
from simulator.fabric.links import Fabric, Lane
from simulator.fabric.parts import linked_parts
from simulator.fabric.sites import joined_sites
from simulator.fabric.torus import Twist, torus
from simulator.machine import Cluster, Edge, FabricTier, Node, Torus
from simulator.numeric import ceil_div
from simulator.wiring import (
    DragonflyWiring,
    GraphWiring,
    PodsWiring,
    TorusWiring,
    TreeWiring,
    WanWiring,
)


@dataclass(frozen=True, slots=True)
class Routing:
    """How flows choose among paths, where the wiring leaves a choice.

    Attributes:
        spreading: over parallel links of a tree: by hash, or packet by packet.
        rail_aware: whether traffic between nodes leaves by the NIC of its target's number.
        seed: of all hashes.
    """

    spreading: Spreading = "ecmp"
    rail_aware: bool = False
    seed: int = 0


def fabric_of(
    cluster: Cluster, num_nodes: int | None = None, routing: Routing | None = None
) -> Fabric:
    """The links of the first nodes of a cluster.

    Args:
        cluster: what ``fabric`` says of it, or its torus, or else a fat tree of its tiers.
        num_nodes: nodes taken, all by default.
        routing: choices among paths; hashes with seed 0 by default.

    Raises:
        PlanError: if the cluster has fewer nodes.
    """
    count = cluster.num_nodes if num_nodes is None else num_nodes
    if not 1 <= count <= cluster.num_nodes:
        raise PlanError(f"{count} nodes of {cluster.name}, which has {cluster.num_nodes}")
    how = routing or Routing()
    whole = replace(cluster, num_nodes=count)
    wiring = cluster.fabric
    if cluster.torus is not None and isinstance(wiring, TorusWiring | PodsWiring | None):
        return _tori(whole, cluster.torus, wiring, how)
    unit = node_unit(cluster.node)
    if count == 1:
        return _alone(cluster.node, unit)
    outer = network_of(whole, how)
    return joined(
        f"{count} nodes of {cluster.name}",
        unit,
        count,
        outer,
        label="node",
        rail_aware=how.rail_aware,
    )


def node_unit(node: Node) -> Unit:
    """The inside of a node, with its NICs as gateways; a device leaves by those nearest to it."""
    devices = [f"gpu{i}" for i in range(node.num_devices)]
    nics = [f"nic{i}" for i in range(node.num_nics)]
    fabric = linked_parts(node.name, node.edges, [*devices, *nics])
    near: list[tuple[int, ...]] = []
    for device in range(node.num_devices):
        hops = [len(fabric.route(device, node.num_devices + i)) for i in range(node.num_nics)]
        near.append(tuple(i for i, count in enumerate(hops) if count == min(hops)))
    return Unit(fabric, node.num_devices, near)


def _alone(node: Node, unit: Unit) -> Fabric:
    return replace(unit.fabric, name=f"one node {node.name}", num_endpoints=node.num_devices)


def network_of(cluster: Cluster, how: Routing) -> Fabric:
    """The network between the NICs of a cluster: port = node * NICs + NIC.

    Args:
        cluster: whose ``fabric``, or else a fat tree of its tiers, joins its nodes.
        how: flows choose among paths.

    Raises:
        PlanError: if its devices are joined by a torus, whose links ``fabric_of`` has; if the links
            of a graph leave a node out.
    """
    node, wiring = cluster.node, cluster.fabric
    if cluster.torus is not None and isinstance(wiring, TorusWiring | PodsWiring | None):
        raise PlanError(
            f"devices of {cluster.name} are joined by a torus, not by their NICs alone",
            where="cluster",
            hint="'run' and 'collective' follow the links of a torus; take a cluster without one",
        )
    match wiring:
        case WanWiring():
            return _sites(cluster, wiring, how)
        case DragonflyWiring():
            return _dragonfly(cluster, wiring, how.seed)
        case GraphWiring():
            return _graph(cluster, wiring, how.seed)
        case _:
            tree = Tree(
                _tiers(cluster),
                num_rails=node.num_nics,
                rail_optimised=isinstance(wiring, TreeWiring) and wiring.rail_optimised,
                spreading=how.spreading,
                seed=how.seed,
            )
            return fat_tree(cluster.num_nodes, node.nic_bytes_per_s, tree)


def _tiers(cluster: Cluster) -> tuple[FabricTier, ...]:
    """Tiers up to the first that spans all nodes."""
    tiers = cluster.tiers
    while len(tiers) > 1 and tiers[-2].nodes_per_group >= cluster.num_nodes:
        tiers = tiers[:-1]
    if not tiers or tiers[-1].nodes_per_group < cluster.num_nodes:
        tiers = (*tiers, FabricTier("network", cluster.num_nodes, 1.0, 0.0))
    return tiers


def _dragonfly(cluster: Cluster, wiring: DragonflyWiring, seed: int) -> Fabric:
    """Groups are those of the lowest tier, global links cross the highest."""
    node, bottom, top = cluster.node, cluster.tiers[0], cluster.tiers[-1]
    shape = DragonflyShape(
        groups=ceil_div(cluster.num_nodes, bottom.nodes_per_group),
        switches=wiring.switches_per_group,
        endpoints=bottom.nodes_per_group * node.num_nics,
        global_links=wiring.global_links,
    )
    lane = Lane(node.nic_bytes_per_s, bottom.hop_s / 2)
    over = Lane(node.nic_bytes_per_s, top.hop_s)
    return dragonfly(shape, lane, lane, over, routing=wiring.routing, seed=seed)


def _graph(cluster: Cluster, wiring: GraphWiring, seed: int) -> Fabric:
    """NICs of a node hang on the part ``node<i>``, from which the user's links lead on."""
    node = cluster.node
    names = [f"node{i}/nic{k}" for i in range(cluster.num_nodes) for k in range(node.num_nics)]
    edges = [Edge(name, name.partition("/")[0], node.nic_bytes_per_s, 0.0) for name in names]
    edges += [Edge(*link) for link in wiring.links]
    return graph_fabric(f"graph of {cluster.name}", edges, names, seed=seed)


def _sites(cluster: Cluster, wiring: WanWiring, how: Routing) -> Fabric:
    """Whole sites, the last may be part empty; within one the cluster's tiers hold.

    Args:
        cluster: of all sites.
        wiring: between them.
        how: flows choose among paths within a site.
    """
    sites = ceil_div(cluster.num_nodes, wiring.nodes_per_site)
    nodes = min(wiring.nodes_per_site, cluster.num_nodes)
    site = network_of(replace(cluster, fabric=None, num_nodes=nodes), how)
    if sites == 1:
        return site
    return joined_sites(f"{sites} sites of {cluster.name}", site, sites, wiring)


def _tori(
    cluster: Cluster, box: Torus, wiring: TorusWiring | PodsWiring | None, how: Routing
) -> Fabric:
    """A torus, or several joined by the NICs of their hosts; always whole ones.

    Args:
        cluster: of all tori.
        box: the torus, if there is one.
        wiring: whether it is twisted, or the shape of one of several.
        how: flows choose among paths between several.

    Raises:
        PlanError: if twists do not fit the shape.
    """
    node = cluster.node
    shape = wiring.shape if isinstance(wiring, PodsWiring) else box.shape
    pod = torus(
        shape,
        box.link_bytes_per_s,
        box.hop_s,
        wraps=box.wraps,
        twists=twists_of(shape) if isinstance(wiring, TorusWiring) and wiring.twisted else (),
        seed=how.seed,
    )
    pods = ceil_div(cluster.num_devices, math.prod(shape))
    if pods == 1:
        return replace(pod, num_endpoints=cluster.num_devices)
    hosts = ceil_div(math.prod(shape), node.num_devices)
    way_out = node.num_nics * node.nic_bytes_per_s
    unit = with_gateways(pod, node.num_devices, way_out, 0.0)
    tiers = _tiers(replace(cluster, num_nodes=hosts * pods))
    tree = Tree(tiers, spreading=how.spreading, seed=how.seed)
    outer = fat_tree(hosts * pods, way_out, tree)
    whole = joined(f"{pods} pods of {cluster.name}", unit, pods, outer, label="pod")
    return replace(whole, num_endpoints=cluster.num_devices)


def twists_of(shape: tuple[int, ...]) -> tuple[Twist, ...]:
    """Wrap links of axes of length k land k further along axes of length 2 k.

    Source: Camarero, Martinez & Beivide 2010, "L-networks" (IEEE Transactions on Computers; from
        memory): twisted k x 2k tori and their forms in three dimensions, which TPU v4 offers.
    """
    longest = int(np.max(shape))
    return tuple(
        Twist(axis, along, longest // 2)
        for axis, length in enumerate(shape)
        for along, other in enumerate(shape)
        if other == longest and 2 * length == longest
    )
