"""Routes of every topology: connected, as short as the shape allows, equal for equal keys."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import PlanError
from simulator.fabric.dragonfly import DragonflyShape, dragonfly
from simulator.fabric.fat_tree import Tree, fat_tree
from simulator.fabric.graph import graph_fabric
from simulator.fabric.joined import joined, with_gateways
from simulator.fabric.links import Fabric, Lane
from simulator.fabric.parts import full_mesh, linked_parts, mesh, pcie_tree
from simulator.fabric.switch import NVL72_BYTES_PER_S, nvl72_rack, single_switch
from simulator.fabric.torus import Twist, torus
from simulator.machine import Edge, FabricTier

LANE = Lane(10.0, 1.0)


def tier(nodes: int, *, over: float = 1.0, hop_s: float = 0.0, name: str = "leaf") -> FabricTier:
    return FabricTier(name, nodes, over, hop_s)


THREE_TIERS = (tier(2), tier(4, name="spine"), tier(8, name="core"))


def ring_of_switches() -> Fabric:
    edges = [Edge(f"s{i}", f"s{(i + 1) % 4}", 10.0, 1.0) for i in range(4)]
    edges += [Edge(f"h{i}", f"s{i}", 5.0, 1.0) for i in range(4)]
    return graph_fabric("ring", edges, [f"h{i}" for i in range(4)])


def two_pods() -> Fabric:
    pod = with_gateways(torus((2, 4), 10.0, 1.0), 4, 5.0, 1.0)
    return joined("two pods", pod, 2, fat_tree(4, 5.0, Tree((tier(4),))), label="pod")


def racks() -> Fabric:
    unit = with_gateways(nvl72_rack(1e-6), 1, 50e9, 1e-6)
    tree = fat_tree(3, 50e9, Tree((tier(3),), num_rails=72, rail_optimised=True))
    return joined("three racks", unit, 3, tree, label="rack", rail_aware=True)


FABRICS: dict[str, tuple[Callable[[], Fabric], int]] = {
    "switch": (lambda: single_switch(6, 10.0, 1.0), 2),
    "mesh": (lambda: mesh(4, [(0, 1), (1, 2), (2, 3), (0, 3), (0, 3)], LANE), 2),
    "full mesh": (lambda: full_mesh(5, LANE), 1),
    "PCIe tree": (lambda: pcie_tree(8, 4, 2, LANE, LANE), 5),
    "two tiers": (lambda: fat_tree(8, 10.0, Tree(THREE_TIERS[1:])), 4),
    "three tiers": (lambda: fat_tree(8, 10.0, Tree(THREE_TIERS, num_rails=2)), 6),
    "rails": (lambda: fat_tree(8, 10.0, Tree(THREE_TIERS, num_rails=4, rail_optimised=True)), 6),
    "minimal dragonfly": (lambda: dragonfly(DragonflyShape(5, 4, 8, 3), LANE, LANE, LANE), 5),
    "uneven dragonfly": (lambda: dragonfly(DragonflyShape(3, 5, 8, 1), LANE, LANE, LANE), 5),
    "valiant dragonfly": (
        lambda: dragonfly(DragonflyShape(5, 4, 8, 3), LANE, LANE, LANE, routing="valiant"),
        7,
    ),
    "2D torus": (lambda: torus((3, 4), 10.0, 1.0), 3),
    "3D torus": (lambda: torus((2, 3, 4), 10.0, 1.0), 4),
    "open torus": (lambda: torus((3, 4), 10.0, 1.0, wraps=(True, False)), 4),
    "twisted torus": (lambda: torus((2, 4), 10.0, 1.0, twists=[Twist(0, 1, 2)]), 2),
    "graph": (ring_of_switches, 4),
    "pods": (two_pods, 4),
    "racks": (racks, 6),
}
"""Name -> what makes it, and the most links of a route in it."""


@pytest.mark.parametrize("name", FABRICS)
def test_routes_are_no_longer_than_the_shape_allows(name: str) -> None:
    make, most = FABRICS[name]
    fabric = make()
    ends = np.arange(fabric.num_endpoints)
    source, target = np.repeat(ends, len(ends)), np.tile(ends, len(ends))
    routes = fabric.routes(source, target, 3)
    lengths = (routes >= 0).sum(axis=1)
    assert lengths.max() == most
    assert np.all((lengths == 0) == (source == target))
    assert routes.max() < fabric.num_links
    for row in routes:
        used = row[row >= 0]
        assert len(set(used.tolist())) == len(used)
    # Nobody leaves or enters by a link of somebody else's: the first links tell senders apart.
    assert np.array_equal(routes, fabric.routes(source, target, 3))


@pytest.mark.parametrize("name", FABRICS)
def test_every_link_has_a_name_a_capacity_and_a_use(name: str) -> None:
    fabric = FABRICS[name][0]()
    ids = np.concatenate([group.ids.ravel() for group in fabric.groups])
    assert sorted(ids.tolist()) == list(range(fabric.num_links))
    names = {fabric.link_name(link) for link in range(min(fabric.num_links, 300))}
    assert len(names) == min(fabric.num_links, 300)
    assert fabric.capacity_bytes_per_s.min() > 0
    assert len(fabric.latency_s) == fabric.num_links


def neighbours(shape: tuple[int, ...], twist: int) -> dict[int, set[int]]:
    """A 2-D torus built another way: by coordinates; wrap links of axis 0 land ``twist`` on."""
    a, b = shape
    found: dict[int, set[int]] = {}
    for y in range(b):
        for x in range(a):
            right = (0, (y + twist) % b) if x == a - 1 else (x + 1, y)
            for x2, y2 in (right, (x, (y + 1) % b)):
                one, two = x + a * y, x2 + a * y2
                found.setdefault(one, set()).add(two)
                found.setdefault(two, set()).add(one)
    return found


def distances(start: int, near: dict[int, set[int]]) -> dict[int, int]:
    far, queue = {start: 0}, deque([start])
    while queue:
        at = queue.popleft()
        for other in near[at]:
            if other not in far:
                far[other] = far[at] + 1
                queue.append(other)
    return far


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 5), st.integers(1, 8), st.booleans())
def test_torus_routes_are_shortest_paths(a: int, b: int, twisted: bool) -> None:
    twist = b // 2 if twisted and a > 1 else 0
    fabric = torus((a, b), 1.0, 1.0, twists=[Twist(0, 1, twist)] if twist else [])
    near = neighbours((a, b), twist)
    for start in range(a * b):
        far = distances(start, near)
        for target in range(a * b):
            assert len(fabric.route(start, target)) == far[target]


def test_a_torus_by_hand() -> None:
    """4 x 3: device 1 + 4 * 0 to 3 + 4 * 2: two along one axis, one back around the other."""
    fabric = torus((4, 3), 10.0, 1.0)
    names = [fabric.link_name(link) for link in fabric.route(1, 11)]
    assert len(names) == 3
    assert names[-1].startswith("axis 1 down")
    assert fabric.num_links == 12 * 4


def test_a_fat_tree_by_hand() -> None:
    """8 nodes of one NIC of 10: leaves of 2, spines over 4, oversubscribed 2 : 1 at the core."""
    leaf, spine = tier(2, hop_s=2.0), tier(4, hop_s=2.0, name="spine")
    fabric = fat_tree(8, 10.0, Tree((leaf, spine, tier(8, over=2, hop_s=2.0, name="core"))))
    # 8 ports, 4 leaves with 2 spines each, 2 blocks of 2 spines with 1 core link each; both ways.
    assert fabric.num_links == 2 * (8 + 4 * 2 + 2 * 2 * 1)
    assert set(fabric.capacity_bytes_per_s.tolist()) == {10.0}
    assert [len(fabric.route(0, other)) for other in (0, 1, 2, 7)] == [0, 2, 4, 6]
    far = np.array([fabric.route(0, 7)])
    assert fabric.path_latency_s(far)[0] == 3 * 2.0  # every tier is crossed once


def test_oversubscription_narrows_what_leads_upwards() -> None:
    """64 NICs of 10 below a leaf and 4 : 1: 160 upwards; sprayed over one link as wide."""
    tree = Tree((tier(8), tier(16, over=4, name="spine")), num_rails=8)
    hashed = fat_tree(16, 10.0, tree)
    sprayed = fat_tree(16, 10.0, replace(tree, spreading="sprayed"))
    assert len(hashed.route(0, 127)) == len(sprayed.route(0, 127)) == 4
    up = hashed.groups[2].ids
    assert up.shape == (2, 1, 16)
    assert hashed.capacity_bytes_per_s[up].sum(axis=(1, 2)).tolist() == [160.0, 160.0]
    assert sprayed.capacity_bytes_per_s[sprayed.groups[2].ids].ravel().tolist() == [160.0, 160.0]


def test_rails_of_a_leaf_group_meet_above_it() -> None:
    tree = fat_tree(4, 10.0, Tree((tier(4),), num_rails=2, rail_optimised=True))
    assert len(tree.route(0, 2)) == 2  # the same rail of two nodes
    assert len(tree.route(0, 3)) == 4  # another rail: over a spine


def test_rail_aware_routes_change_rails_inside_the_node() -> None:
    unit = with_gateways(single_switch(2, 100.0, 0.0), 1, 10.0, 0.0)
    tree = fat_tree(4, 10.0, Tree((tier(4),), num_rails=2, rail_optimised=True))
    near = joined("by own NIC", unit, 4, tree, label="node")
    aware = joined("by rail", unit, 4, tree, label="node", rail_aware=True)
    across = [near.link_name(link) for link in near.route(0, 3)]
    along = [aware.link_name(link) for link in aware.route(0, 3)]
    assert sum("spine" in name for name in across) == 2
    assert not any("spine" in name for name in along)
    assert along[:2] == ["node 0: port 0 to switch", "node 0: switch to port 1"]


def test_hashes_depend_on_key_and_seed_alone() -> None:
    tree = Tree((tier(32), tier(64)))
    one, again = fat_tree(64, 1.0, tree), fat_tree(64, 1.0, tree)
    assert one.route(0, 63, 5) == again.route(0, 63, 5)
    paths = {one.route(0, 63, key) for key in range(200)}
    assert len(paths) == 32  # 200 balls leave one of 32 bins empty once in 20 tries of seeds
    assert fat_tree(64, 1.0, replace(tree, seed=7)).route(0, 63, 5) != one.route(0, 63, 5)


def test_a_graph_spreads_over_equal_paths() -> None:
    fabric = ring_of_switches()
    assert len({fabric.route(0, 2, key) for key in range(20)}) == 2
    assert len({fabric.route(0, 1, key) for key in range(20)}) == 1


@pytest.mark.parametrize("make", [linked_parts, graph_fabric])
def test_parallel_links_act_as_one(make: Callable[..., Fabric]) -> None:
    """Two links of 10 and one of 5, listed from either end: 25, as late as the latest."""
    edges = [Edge("a", "b", 10.0, 1.0), Edge("b", "a", 10.0, 3.0), Edge("a", "b", 5.0, 1.0)]
    fabric = make("two parts", edges, ["a", "b"])
    assert fabric.capacity_bytes_per_s.tolist() == [25.0, 25.0]
    assert fabric.latency_s.tolist() == [3.0, 3.0]


def test_parts_take_the_widest_of_the_shortest_ways() -> None:
    edges = [Edge("gpu0", "a", 1.0, 0.0), Edge("a", "gpu1", 9.0, 0.0)]
    edges += [Edge("gpu0", "b", 5.0, 0.0), Edge("b", "gpu1", 5.0, 0.0)]
    fabric = linked_parts("two ways", edges, ["gpu0", "gpu1"])
    assert [fabric.link_name(link) for link in fabric.route(0, 1)] == ["gpu0 to b", "b to gpu1"]


def test_a_rack_carries_130_terabytes_per_second() -> None:
    """72 devices times 1.8 TB/s both ways."""
    rack = nvl72_rack(1e-6)
    assert rack.capacity_bytes_per_s.sum() == pytest.approx(130e12, rel=0.01)  # 129.6, rounded
    assert NVL72_BYTES_PER_S * 2 == 1.8e12


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: fat_tree(8, 1.0, Tree((tier(4),))), "spans 4 of 8 nodes"),
        (
            lambda: fat_tree(12, 1.0, Tree((tier(4), tier(6), tier(12)))),
            "does not hold whole groups",
        ),
        (lambda: torus((2, 2), 1.0, 1.0, twists=[Twist(0, 0, 1)]), "twist of axis 0 along 0"),
        (lambda: linked_parts("x", [Edge("a", "b", 1, 1)], ["a", "c"]), "no way from 'a' to 'c'"),
        (lambda: graph_fabric("x", [Edge("a", "b", 1, 1)], ["a", "c"]), "no way from 'a' to 'c'"),
        (lambda: single_switch(2, 1.0, 1.0).route(0, 2), "endpoint 2 is none of the 2"),
        (lambda: dragonfly(DragonflyShape(0, 1, 1, 1), LANE, LANE, LANE), "count below 1"),
        (
            lambda: joined(
                "x",
                with_gateways(single_switch(2, 1.0, 1.0), 1, 1.0, 1.0),
                2,
                single_switch(3, 1.0, 1.0),
                label="node",
            ),
            "3 ports to join",
        ),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        make()
