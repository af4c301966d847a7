"""Fat trees of any number of tiers, closed form: leaves, spines, cores; with or without rails.

Ports are NICs: port = node * num_rails + rail. A leaf holds all NICs of the nodes of its group or,
rail-optimised, those of one rail. Every leaf has a link to each spine of its block; spine s of
every block has its links to the core switches of plane s, and so on: the way up is a choice per
tier, the way down follows from it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from simulator.errors import PlanError
from simulator.fabric.hashing import choice
from simulator.fabric.links import Fabric, LinkTable, stacked
from simulator.machine import FabricTier
from simulator.numeric import BoolArray, IntArray, ceil_div

Spreading = Literal["ecmp", "sprayed"]
"""``ecmp``: a flow keeps to one path, by a hash; ``sprayed``: every packet takes another, so that
the parallel links of a switch act as one."""


@dataclass(frozen=True, slots=True)
class Tree:
    """What a fat tree is, whatever hangs below it.

    Attributes:
        tiers: from the leaves up; the top one must span all nodes. Oversubscription is bandwidth of
            the NICs below over that of the links into the tier; half of its latency is passed on
            the way up, half on the way down.
        num_rails: NICs of a node.
        rail_optimised: a leaf for each NIC of a group's nodes, in place of one for all.
        spreading: how flows are spread over parallel links.
        seed: of the hash.
    """

    tiers: tuple[FabricTier, ...]
    num_rails: int = 1
    rail_optimised: bool = False
    spreading: Spreading = "ecmp"
    seed: int = 0

    @property
    def leaves_per_group(self) -> int:
        """Leaves that the nodes of a group of the lowest tier have."""
        return self.num_rails if self.rail_optimised else 1


@dataclass(frozen=True, slots=True, eq=False)
class _TreeRouter:
    """Up by hashed choices, down the same planes.

    Attributes:
        leaf: [ports], leaf of a port.
        block: per tier above the leaves, [leaves], the block that the leaf is in.
        port_up, port_down: [ports].
        up, down: per tier above the leaves, [blocks of the tier below, planes, choices].
    """

    seed: int
    leaf: IntArray
    block: tuple[IntArray, ...]
    port_up: IntArray
    port_down: IntArray
    up: tuple[IntArray, ...]
    down: tuple[IntArray, ...]

    def routes(self, source: IntArray, target: IntArray, key: IntArray) -> IntArray:
        """See ``links.Router``."""
        below, above = self.leaf[source], self.leaf[target]
        climbs = below != above
        rise: list[IntArray] = [self.port_up[source]]
        fall: list[IntArray] = [self.port_down[target]]
        used: list[BoolArray] = [source != target]
        plane = np.zeros_like(source)
        from_block, to_block = below, above
        for tier, (up, down, block) in enumerate(zip(self.up, self.down, self.block, strict=True)):
            taken = choice(up.shape[-1], self.seed + tier, source, target, key)
            rise.append(up[from_block, plane, taken])
            fall.append(down[to_block, plane, taken])
            used.append(climbs)
            plane = plane * up.shape[-1] + taken
            from_block, to_block = block[below], block[above]
            climbs = climbs & (from_block != to_block)
        return stacked([*rise, *reversed(fall)], [*used, *reversed(used)])


def fat_tree(num_nodes: int, nic_bytes_per_s: float, tree: Tree) -> Fabric:
    """A fat tree over the NICs of nodes.

    Links between switches are as fast as a NIC; where that does not divide the bandwidth that the
    oversubscription leaves, a little faster or slower.

    Source: Leiserson 1985, "Fat-trees"; Oehring et al. 1995, "On generalized fat trees" (the
        choices); a NIC per rail and leaf: NVIDIA DGX SuperPOD reference architectures.
    Assumes: the rails of a single tier meet above their leaves, in spines that narrow nothing.

    Args:
        num_nodes: nodes below it; groups may be part full, their switches are not smaller for it.
        nic_bytes_per_s: of one NIC.
        tree: tiers, rails and routing.

    Raises:
        PlanError: if the top tier does not span all nodes, or tiers do not nest.
    """
    _check(num_nodes, tree.tiers)
    first = tree.tiers[0]
    if tree.rail_optimised and len(tree.tiers) == 1:
        tree = replace(tree, tiers=(first, FabricTier("spine", num_nodes, 1.0, first.hop_s)))
    table = LinkTable()
    ports = num_nodes * tree.num_rails
    nic = nic_bytes_per_s / first.oversubscription
    port_up = table.add(f"port {{}} to {first.name}", (ports,), nic, first.hop_s / 2)
    port_down = table.add(f"{first.name} to port {{}}", (ports,), nic, first.hop_s / 2)
    node, rail = np.divmod(np.arange(ports), tree.num_rails)
    leaves = tree.leaves_per_group
    leaf = node // first.nodes_per_group * leaves + (rail if tree.rail_optimised else 0)
    nodes_of_leaf = np.arange(int(leaf.max(initial=0)) + 1) // leaves * first.nodes_per_group
    up, down = _trunks(table, num_nodes, nic_bytes_per_s, tree)
    blocks = tuple(nodes_of_leaf // tier.nodes_per_group for tier in tree.tiers[1:])
    router = _TreeRouter(tree.seed, leaf, blocks, port_up, port_down, up, down)
    return table.fabric(f"fat tree of {len(tree.tiers)} tiers", ports, router)


def _trunks(
    table: LinkTable, num_nodes: int, nic_bytes_per_s: float, tree: Tree
) -> tuple[tuple[IntArray, ...], tuple[IntArray, ...]]:
    """Links between switches, up and down, per tier above the leaves.

    Args:
        table: takes them.
        num_nodes: below all of them.
        nic_bytes_per_s: of one NIC, and about of every link; sprayed, parallel links are one.
        tree: tiers and rails.
    """
    widest = nic_bytes_per_s if tree.spreading == "ecmp" else math.inf
    node_bytes_per_s = tree.num_rails * nic_bytes_per_s
    up: list[IntArray] = []
    down: list[IntArray] = []
    planes = 1
    for below, tier in itertools.pairwise(tree.tiers):
        each = tree.leaves_per_group if below is tree.tiers[0] else 1
        switches = ceil_div(num_nodes, below.nodes_per_group) * each
        injected = below.nodes_per_group * node_bytes_per_s / each
        width = injected / tier.oversubscription / planes
        links = max(1, round(width / widest))
        shape = (switches, planes, links)
        label = f"{below.name} {{}}.{{}} {{}} {tier.name} {{}}"
        rate, late = width / links, tier.hop_s / 2
        up.append(table.add(label.format("{}", "{}", "to", "{}"), shape, rate, late))
        down.append(table.add(label.format("{}", "{}", "from", "{}"), shape, rate, late))
        planes *= links
    return tuple(up), tuple(down)


def _check(num_nodes: int, tiers: Sequence[FabricTier]) -> None:
    if not tiers or tiers[-1].nodes_per_group < num_nodes:
        spans = tiers[-1].nodes_per_group if tiers else 0
        raise PlanError(
            f"the top tier spans {spans} of {num_nodes} nodes", hint="add a tier that spans them"
        )
    for below, above in itertools.pairwise(tiers):
        top = above is tiers[-1]
        if math.remainder(above.nodes_per_group, below.nodes_per_group) and not top:
            raise PlanError(
                f"a group of {above.nodes_per_group} nodes does not hold whole groups of "
                f"{below.nodes_per_group}"
            )
