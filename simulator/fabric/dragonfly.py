"""Dragonflies: groups of switches, all joined within a group, groups joined by global links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator.errors import PlanError
from simulator.fabric.hashing import choice
from simulator.fabric.links import NO_LINK, Fabric, Lane, LinkTable
from simulator.numeric import IntArray

DragonflyRouting = Literal["minimal", "valiant", "adaptive"]
"""``minimal``: the direct global link; ``valiant``: over a third group, by hash; ``adaptive``: the
one of these two whose links carry less when the flow starts."""


@dataclass(frozen=True, slots=True)
class DragonflyShape:
    """Counts of a dragonfly.

    Attributes:
        groups: of switches.
        switches: of a group.
        endpoints: of a group, spread over its switches; some have one more where they do not
            divide.
        global_links: between each two groups.
    """

    groups: int
    switches: int
    endpoints: int
    global_links: int


@dataclass(frozen=True, slots=True, eq=False)
class _Links:
    """Numbers of links: [endpoints], [groups, switches, switches], [groups, groups, links]."""

    up: IntArray
    down: IntArray
    local: IntArray
    over: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class _MinimalRouter:
    seed: int
    shape: DragonflyShape
    links: _Links

    def routes(self, source: IntArray, target: IntArray, key: IntArray) -> IntArray:
        """See ``links.Router``: at most one local, one global and one more local link."""
        group, switch = self.place(source)
        to_group, to_switch = self.place(target)
        taken = choice(self.shape.global_links, self.seed, source, target, key)
        middle = self.hop((group, switch), to_group, taken)
        rows = [self.links.up[source], *middle[0], self.local(to_group, middle[1], to_switch)]
        rows.append(self.links.down[target])
        return np.where((source == target)[:, None], NO_LINK, np.stack(rows, axis=-1))

    def place(self, endpoint: IntArray) -> tuple[IntArray, IntArray]:
        """Group and switch of endpoints."""
        group, place = np.divmod(endpoint, self.shape.endpoints)
        return group, place * self.shape.switches // self.shape.endpoints

    def hop(
        self, at: tuple[IntArray, IntArray], group: IntArray, taken: IntArray
    ) -> tuple[tuple[IntArray, IntArray], IntArray]:
        """The links to another group, and the switch on which they end; none to the own group."""
        leaves = at[0] != group
        exits = np.where(leaves, self.gateway(at[0], group, taken), at[1])
        to_exit = self.local(at[0], at[1], exits)
        over = np.where(leaves, self.links.over[at[0], group, taken], NO_LINK)
        lands = np.where(leaves, self.gateway(group, at[0], taken), at[1])
        return (to_exit, over), lands

    def local(self, group: IntArray, a: IntArray, b: IntArray) -> IntArray:
        """The link between two switches of a group."""
        return np.where(a != b, self.links.local[group, a, b], NO_LINK)

    def gateway(self, group: IntArray, other: IntArray, taken: IntArray) -> IntArray:
        """The switch that holds a global link: links to the groups in turn, over all switches."""
        turn = (other - group) % self.shape.groups - 1
        return (turn * self.shape.global_links + taken) % self.shape.switches


@dataclass(frozen=True, slots=True, eq=False)
class _ValiantRouter:
    minimal: _MinimalRouter

    def routes(self, source: IntArray, target: IntArray, key: IntArray) -> IntArray:
        """See ``links.Router``: over a group that a hash names; minimal within a group."""
        direct, shape = self.minimal, self.minimal.shape
        group, switch = direct.place(source)
        to_group, to_switch = direct.place(target)
        seed = direct.seed + 1
        via = choice(max(1, shape.groups - 2), seed, source, target, key)
        low, high = np.minimum(group, to_group), np.maximum(group, to_group)
        via = via + (via >= low)
        via = via + (via >= high)
        via = np.where((group == to_group) | (shape.groups < 3), to_group, via)
        first = choice(shape.global_links, seed + 1, source, target, key)
        second = choice(shape.global_links, seed + 2, source, target, key)
        there, landed = direct.hop((group, switch), via, first)
        back, lands = direct.hop((via, landed), to_group, second)
        rows = [direct.links.up[source], *there, *back]
        rows += [direct.local(to_group, lands, to_switch), direct.links.down[target]]
        return np.where((source == target)[:, None], NO_LINK, np.stack(rows, axis=-1))


def dragonfly(
    shape: DragonflyShape,
    port: Lane,
    local: Lane,
    over: Lane,
    *,
    routing: DragonflyRouting = "minimal",
    seed: int = 0,
) -> Fabric:
    """A dragonfly over ports; those of a switch, then those of a group, follow one another.

    Source: Kim et al. 2008, "Technology-driven, highly-scalable dragonfly topology" (ISCA),
        sections 3 and 4 (minimal, Valiant and UGAL routing).

    Args:
        shape: counts.
        port: between an endpoint and its switch.
        local: between two switches of a group.
        over: one global link.
        routing: which ways flows take.
        seed: of the hashes.

    Raises:
        PlanError: if a count is below 1.
    """
    if min(shape.groups, shape.switches, shape.endpoints, shape.global_links) < 1:
        raise PlanError(f"{shape} has a count below 1")
    table = LinkTable()
    groups, switches = shape.groups, shape.switches
    count = groups * shape.endpoints
    up = table.add("port {} to switch", (count,), port.bytes_per_s, port.latency_s)
    down = table.add("switch to port {}", (count,), port.bytes_per_s, port.latency_s)
    inside = np.full((groups, switches, switches), NO_LINK)
    pairs = ~np.eye(switches, dtype=bool)
    inside[:, pairs] = table.add(
        "group {} local link {}", (groups, int(pairs.sum())), local.bytes_per_s, local.latency_s
    )
    between = np.full((groups, groups, shape.global_links), NO_LINK)
    others = ~np.eye(groups, dtype=bool)
    shape_of = (int(others.sum()), shape.global_links)
    between[others] = table.add("groups {} link {}", shape_of, over.bytes_per_s, over.latency_s)
    minimal = _MinimalRouter(seed, shape, _Links(up, down, inside, between))
    valiant = _ValiantRouter(minimal)
    return table.fabric(
        f"dragonfly of {groups} groups",
        count,
        valiant if routing == "valiant" else minimal,
        valiant if routing == "adaptive" else None,
    )
