"""Schema of ``fabric`` in ``hardware/clusters/*.yaml``: how the network is wired."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from simulator.errors import SpecError
from simulator.machine import Assumption, Torus
from simulator.spec.graph_links import LinkRow, num_passed
from simulator.spec.quantity import BytesPerSecond, Count, Seconds, Sourced, Text
from simulator.spec.validate import Spec
from simulator.wiring import (
    DragonflyWiring,
    GraphWiring,
    NetworkWiring,
    PodsWiring,
    TorusWiring,
    TreeWiring,
    WanWiring,
)


class TreeSpec(Spec):
    """See ``wiring.TreeWiring``."""

    kind: Literal["fat_tree", "rail_fat_tree"]
    source: Text

    def build(self, torus: Torus | None) -> NetworkWiring:
        """The frozen form."""
        return TreeWiring(rail_optimised=self.kind == "rail_fat_tree")


class DragonflySpec(Spec):
    """See ``wiring.DragonflyWiring``."""

    kind: Literal["dragonfly"]
    switches_per_group: Sourced[Count]
    global_links: Sourced[Count]
    routing: Sourced[Literal["minimal", "valiant", "adaptive"]]

    def build(self, torus: Torus | None) -> NetworkWiring:
        """The frozen form."""
        return DragonflyWiring(
            self.switches_per_group.value, self.global_links.value, self.routing.value
        )


class TorusWiringSpec(Spec):
    """See ``wiring.TorusWiring``."""

    kind: Literal["torus"]
    twisted: Sourced[bool]

    def build(self, torus: Torus | None) -> NetworkWiring:
        """The frozen form."""
        _needs_torus(self.kind, torus)
        return TorusWiring(self.twisted.value)


class PodsSpec(Spec):
    """See ``wiring.PodsWiring``."""

    kind: Literal["pods"]
    shape: Sourced[tuple[Count, ...]]

    def build(self, torus: Torus | None) -> NetworkWiring:
        """The frozen form."""
        axes = len(_needs_torus(self.kind, torus).shape)
        if len(self.shape.value) != axes:
            raise SpecError(
                f"a pod of {len(self.shape.value)} axes on a torus of {axes}",
                hint="give a length for every axis of 'torus'",
            )
        return PodsWiring(self.shape.value)


class WanWiringSpec(Spec):
    """See ``wiring.WanWiring``."""

    kind: Literal["wan"]
    nodes_per_site: Sourced[Count]
    bandwidth: Sourced[BytesPerSecond]
    latency: Sourced[Seconds]

    def build(self, torus: Torus | None) -> NetworkWiring:
        """The frozen form."""
        return WanWiring(self.nodes_per_site.value, self.bandwidth.value, self.latency.value)


class GraphSpec(Spec):
    """See ``wiring.GraphWiring``."""

    kind: Literal["graph"]
    links: Sourced[tuple[LinkRow, ...]]

    def build(self, torus: Torus | None) -> NetworkWiring:
        """The frozen form."""
        return GraphWiring(self.links.value)


WiringSpec: TypeAlias = Annotated[
    TreeSpec | DragonflySpec | TorusWiringSpec | PodsSpec | WanWiringSpec | GraphSpec,
    Field(discriminator="kind"),
]


def wiring_assumptions(
    wiring: NetworkWiring | None, torus: Torus | None, num_nodes: int
) -> tuple[Assumption, ...]:
    """What step times of folded ranks leave out of a wiring; reports list it."""
    if not isinstance(wiring, WanWiring | GraphWiring):
        return ()
    kind = "wan" if isinstance(wiring, WanWiring) else "graph"
    if torus is not None:
        what = f"not in step times: devices on a torus share the NICs, not the links of '{kind}'"
        return (Assumption("fabric", what, "the torus comes first"),)
    if isinstance(wiring, WanWiring):
        if num_nodes > wiring.nodes_per_site:
            return ()
        what = f"'wan': no link between sites is used, one site holds all {num_nodes:,} nodes"
        return (Assumption("fabric", what, f"a site is of {wiring.nodes_per_site:,} nodes"),)
    passed = num_passed(wiring.links, num_nodes)
    if not passed:
        return ()
    what = f"'graph': nodes beyond node{num_nodes - 1} ({passed:,}) only pass on what others send"
    return (Assumption("fabric", what, f"the first {num_nodes:,} nodes were asked for"),)


def _needs_torus(kind: str, torus: Torus | None) -> Torus:
    if torus is None:
        raise SpecError(
            f"a fabric of kind '{kind}' without a torus", hint="describe it under 'torus'"
        )
    return torus
