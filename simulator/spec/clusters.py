"""Schema of ``hardware/clusters/*.yaml``: nodes of one kind and the network between them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Final, cast

from pydantic import StrictBool, ValidationInfo, field_validator, model_validator

from simulator.errors import SpecError, as_written
from simulator.machine import (
    USUAL_ALGORITHMS,
    Assumption,
    Cluster,
    FabricTier,
    Node,
    SlowHosts,
    Torus,
)
from simulator.spec.collectives import Algorithms, NetworkSpec, check_switches
from simulator.spec.graph_links import check_graph
from simulator.spec.quantity import (
    MAX_DEVICES,
    AssumptionSpec,
    BytesPerSecond,
    Count,
    Fraction,
    Oversubscription,
    Seconds,
    Slowdown,
    Sourced,
    Text,
    assumptions,
)
from simulator.spec.tapers import check_taper
from simulator.spec.validate import Spec
from simulator.spec.wirings import GraphSpec, WiringSpec, wiring_assumptions
from simulator.wiring import NetworkWiring, WanWiring

STRETCHED: Final = "tiers of all nodes"
"""Assumption that says what joins nodes beyond the tiers that were given."""


class FabricTierSpec(Spec):
    """One level of switches; see ``machine.FabricTier``."""

    name: Text
    nodes_per_group: Count
    oversubscription: Oversubscription
    hop: Seconds
    source: Text

    def build(self) -> FabricTier:
        """The frozen form."""
        return FabricTier(self.name, self.nodes_per_group, self.oversubscription, self.hop)


class SlowHostsSpec(Spec):
    """Hosts slower than the rest; see ``machine.SlowHosts``."""

    share: Sourced[Fraction]
    forward: Sourced[Slowdown]


class TorusSpec(Spec):
    """Devices of a pod on a torus.

    An axis wraps around if its length is a multiple of ``wrap_multiple``; a slice smaller than
    the pod may lose its wrap links.
    """

    shape: Sourced[tuple[Count, ...]]
    wrap_multiple: Sourced[Count]
    link_bandwidth: Sourced[BytesPerSecond]
    hop: Sourced[Seconds]

    def build(self, num_devices: int) -> Torus:
        """The torus of ``num_devices`` devices: the whole pod, several pods, or a slice."""
        shape = self.shape.value
        if num_devices < math.prod(shape):
            shape = slice_shape(num_devices, shape)
        multiple = self.wrap_multiple.value
        return Torus(
            shape=shape,
            link_bytes_per_s=self.link_bandwidth.value,
            hop_s=self.hop.value,
            wraps=tuple(length % multiple == 0 for length in shape),
        )


def slice_shape(num_devices: int, pod: tuple[int, ...]) -> tuple[int, ...]:
    """The most cubic box of ``num_devices`` devices that fits in a pod, longest axis last.

    Raises:
        SpecError: if no box of that many devices fits.
    """
    boxes = [
        tuple(sorted(box))
        for box in _boxes(num_devices, len(pod))
        if all(a <= b for a, b in zip(sorted(box), sorted(pod), strict=True))
    ]
    if not boxes:
        raise SpecError(
            f"{num_devices} devices form no box inside the torus {' x '.join(map(str, pod))}",
            hint="choose a product of axis lengths, such as a power of 2",
        )
    return min(boxes, key=sum)


def _boxes(volume: int, dims: int) -> list[tuple[int, ...]]:
    """All ways to write a volume as a product of ``dims`` ascending lengths."""
    if dims == 1:
        return [(volume,)]
    lengths = [d for d in range(1, round(volume ** (1 / dims)) + 1) if volume % d == 0]
    return [(d, *rest) for d in lengths for rest in _boxes(volume // d, dims - 1) if rest[0] >= d]


class ClusterSpec(Spec):
    """Nodes and fabric; ``node`` is a preset's name, a path, or a whole description."""

    name: Text
    node: str | dict[str, object]
    num_nodes: Sourced[Count]
    tiers: tuple[FabricTierSpec, ...] = ()
    network: NetworkSpec
    torus: TorusSpec | None = None
    slow_hosts: SlowHostsSpec | None = None
    fabric: WiringSpec | None = None
    collective_algorithms: Algorithms = USUAL_ALGORITHMS
    switches_reduce: Sourced[StrictBool] | None = None
    assumptions: tuple[AssumptionSpec, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _own_number(cls, data: object) -> object:
        if isinstance(data, Mapping) and "nodes" in data:
            asked = as_written(cast("Mapping[str, object]", data)["nodes"])
            raise SpecError(
                "unknown key 'nodes' in a description of a cluster",
                hint=f"write num_nodes: {{value: {asked}, source: ...}}, or "
                f"{{preset: NAME, nodes: {asked}}} to take so many nodes of a cluster as it is",
            )
        return cast("object", data)

    @field_validator("tiers")
    @classmethod
    def _ascending(cls, tiers: tuple[FabricTierSpec, ...]) -> tuple[FabricTierSpec, ...]:
        for below, above in pairwise(tiers):
            inner = above is not tiers[-1]
            remainder = above.nodes_per_group % below.nodes_per_group if inner else 0
            if remainder or above.nodes_per_group < below.nodes_per_group:
                raise SpecError(
                    f"tier '{above.name}' groups {above.nodes_per_group} nodes, which does not "
                    f"hold whole groups of {below.nodes_per_group} of tier '{below.name}' below it",
                    hint="list tiers from the nodes upwards; only the top one may be part full",
                )
        return tiers

    @field_validator("fabric")
    @classmethod
    def _whole(cls, fabric: WiringSpec | None, info: ValidationInfo) -> WiringSpec | None:
        asked: Sourced[Count] | None = info.data.get("num_nodes")
        # A wrong number of nodes is reported by itself.
        if isinstance(fabric, GraphSpec) and asked is not None:
            check_graph(fabric.links.value, asked.value)
        return fabric

    def build(self, node: Node, num_nodes: int | None) -> Cluster:
        """The frozen form with ``num_nodes`` of the nodes (None for all).

        Raises:
            SpecError: if there are fewer nodes than asked for, or too many devices.
        """
        available = self.num_nodes.value
        count = available if num_nodes is None else num_nodes
        if not 1 <= count <= available:
            raise SpecError(
                f"{count} nodes asked of cluster '{self.name}', which has {available}",
                hint=f"ask for 1 to {available}, or describe a larger cluster with "
                f"'extends: {self.name}'",
            )
        if count * node.num_devices > MAX_DEVICES:
            raise SpecError(
                f"{count} nodes of {node.num_devices} devices are {count * node.num_devices:,} "
                f"devices, more than {MAX_DEVICES:,}"
            )
        if count > 1 and node.num_nics == 0 and self.torus is None:
            raise SpecError(
                f"{count} nodes of kind '{node.name}', which has no NIC",
                hint="ask for 1 node, or give the node NICs",
            )
        reduces = self.switches_reduce is not None and self.switches_reduce.value
        check_switches(self.collective_algorithms, self.name, reduces)
        torus = self.torus.build(count * node.num_devices) if self.torus else None
        fabric = self.fabric.build(torus) if self.fabric else None
        check_taper(fabric, tuple(tier.build() for tier in self.tiers), node, self.name)
        return Cluster(
            name=self.name,
            node=node,
            num_nodes=count,
            tiers=self._tiers(count),
            network=self.network.curve(),
            torus=torus,
            assumptions=(
                *assumptions(self.assumptions),
                *wiring_assumptions(fabric, torus, count),
                *self._stretched(count, fabric),
            ),
            slow_hosts=self._slow_hosts(),
            fabric=fabric,
            collective_algorithms=self.collective_algorithms,
            switches_reduce=reduces,
        )

    def _slow_hosts(self) -> SlowHosts | None:
        slow = self.slow_hosts
        return SlowHosts(slow.share.value, slow.forward.value) if slow else None

    def _stretched(self, num_nodes: int, fabric: NetworkWiring | None) -> tuple[Assumption, ...]:
        """What is taken of the network above the nodes where the tiers given do not reach."""
        joined = num_nodes
        if isinstance(fabric, WanWiring):
            joined = min(num_nodes, fabric.nodes_per_site)
        reach = self.tiers[-1].nodes_per_group if self.tiers else 1
        if joined <= reach:
            return ()
        if not self.tiers:
            what = f"one network of full bisection joins all {joined:,} nodes"
            return (Assumption(STRETCHED, what, "no tiers given"),)
        top = self.tiers[-1].name
        what = f"{top} joins all {joined:,} nodes at its oversubscription"
        return (Assumption(STRETCHED, what, f"no tier above {top}, which is of {reach:,} nodes"),)

    def _tiers(self, num_nodes: int) -> tuple[FabricTier, ...]:
        """Tiers up to the first that spans all nodes; the top one always does."""
        tiers: list[FabricTier] = []
        for spec in self.tiers:
            tiers.append(spec.build())
            if spec.nodes_per_group >= num_nodes:
                return tuple(tiers)
        if not tiers:
            return (FabricTier("network", num_nodes, 1.0, 0.0),)
        top = dataclasses.replace(tiers[-1], nodes_per_group=num_nodes)
        return (*tiers[:-1], top)
