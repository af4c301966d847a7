"""Runs of flows: by hand, work conserved, the order of the list without effect, counts of work."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import PlanError
from simulator.fabric.dragonfly import DragonflyShape, dragonfly
from simulator.fabric.fat_tree import Spreading, Tree, fat_tree
from simulator.fabric.fluid import Flow, run_flows
from simulator.fabric.graph import graph_fabric
from simulator.fabric.links import Lane
from simulator.fabric.permutation import PermutationLoss, permutation_loss
from simulator.fabric.ring import ring_all_reduce, ring_steps
from simulator.fabric.switch import single_switch
from simulator.fabric.traffic import Traffic
from simulator.machine import Edge, FabricTier
from simulator.numeric import TICK_S

ROUND_UP = 2 * TICK_S
"""Ends stand on whole ticks; two flows in turn round up twice."""


def test_two_flows_share_a_port_and_the_longer_has_it_alone_afterwards() -> None:
    """10 B/s into port 2. 30 B and 50 B at 5 B/s each until 6 s, then 20 B left at 10 B/s: 8 s."""
    fabric = single_switch(3, 10.0, 0.25)
    run = run_flows(fabric, [Flow(0, 2, 30.0), Flow(1, 2, 50.0)])
    assert run.end_s.tolist() == pytest.approx([6.5, 8.5], abs=ROUND_UP)  # two links of 0.25 s
    assert run.events == 3  # both start, one ends, the other ends


def test_a_late_flow_slows_the_first() -> None:
    """100 B at 10 B/s; from 4 s to 8 s half of it goes to 20 B of another, 40 B remain: 12 s."""
    run = run_flows(single_switch(3, 10.0, 0.0), [Flow(0, 2, 100.0), Flow(1, 2, 20.0, start_s=4.0)])
    assert run.end_s.tolist() == pytest.approx([12.0, 8.0], abs=ROUND_UP)


def test_priority_goes_first_and_weights_share() -> None:
    """One port of 12: the first alone for 1 s; then weights 2 and 1 get 8 and 4."""
    flows = [
        Flow(0, 3, 12.0, priority=-1),
        Flow(1, 3, 16.0, weight=2.0),
        Flow(2, 3, 16.0),
    ]
    run = run_flows(single_switch(4, 12.0, 0.0), flows)
    assert run.end_s.tolist() == pytest.approx([1.0, 3.0, 1 + 2 + 8 / 12], abs=2 * ROUND_UP)


def test_flows_wait_for_others_and_limits_hold() -> None:
    flows = [Flow(0, 1, 10.0), Flow(1, 2, 10.0, after=(0,), limit_bytes_per_s=5.0), Flow(2, 2, 7.0)]
    run = run_flows(single_switch(3, 10.0, 0.5), flows)
    assert run.start_s.tolist() == pytest.approx([0.0, 2.0, 0.0], abs=ROUND_UP)
    assert run.end_s.tolist() == pytest.approx([2.0, 5.0, 0.0], abs=ROUND_UP)


def test_a_circle_of_waiting_is_refused() -> None:
    with pytest.raises(PlanError, match="flow 0 never ends"):
        run_flows(
            single_switch(2, 1.0, 0.0), [Flow(0, 1, 1.0, after=(1,)), Flow(1, 0, 1.0, after=(0,))]
        )


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"num_bytes": -1.0}, "flow 1 has num_bytes -1.0"),
        ({"num_bytes": math.nan}, "flow 1 has num_bytes nan"),
        ({"num_bytes": math.inf}, "flow 1 has num_bytes inf"),
        ({"start_s": -1.0}, "flow 1 has start_s -1.0"),
        ({"start_s": math.nan}, "flow 1 has start_s nan"),
        ({"weight": 0.0}, "flow 1 has weight 0.0"),
        ({"weight": math.inf}, "flow 1 has weight inf"),
        ({"limit_bytes_per_s": 0.0}, "flow 1 has limit_bytes_per_s 0.0"),
        ({"limit_bytes_per_s": math.nan}, "flow 1 has limit_bytes_per_s nan"),
        ({"after": (5,)}, "flow 1 waits for flow 5, which is none of the 2 flows"),
        ({"after": (-1,)}, "flow 1 waits for flow -1"),
        ({"target": 7}, "endpoint 7 is none of the 2"),
    ],
)
def test_numbers_without_sense_are_refused(wrong: dict[str, Any], words: str) -> None:
    flows = [Flow(0, 1, 1.0), replace(Flow(1, 0, 1.0), **wrong)]
    with pytest.raises(PlanError, match=words):
        run_flows(single_switch(2, 1.0, 0.0), flows)


TREE = fat_tree(
    8,
    6.0,
    Tree(
        (
            FabricTier("leaf", 2, 1.0, 0.0),
            FabricTier("spine", 4, 2.0, 0.0),
            FabricTier("core", 8, 3.0, 0.0),
        )
    ),
)
DRAGONFLY = dragonfly(
    DragonflyShape(4, 2, 2, 1), Lane(6.0, 0.1), Lane(4.0, 0.1), Lane(3.0, 0.2), routing="adaptive"
)
flows_of_eight = st.lists(
    st.builds(
        Flow,
        source=st.integers(0, 7),
        target=st.integers(0, 7),
        num_bytes=st.sampled_from([0.0, 1.0, 5.0, 12.0, 12.5]),
        start_s=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
        key=st.integers(0, 3),
        weight=st.sampled_from([1.0, 2.0]),
        priority=st.integers(0, 1),
    ),
    min_size=1,
    max_size=20,
)


@settings(deadline=None)
@given(flows_of_eight, st.randoms(use_true_random=False), st.sampled_from([TREE, DRAGONFLY]))
def test_the_order_of_the_list_has_no_effect(flows, random, fabric) -> None:
    order = list(range(len(flows)))
    random.shuffle(order)
    one, other = run_flows(fabric, flows), run_flows(fabric, [flows[i] for i in order])
    assert other.end_s.tolist() == one.end_s[order].tolist()  # to the last bit
    assert other.start_s.tolist() == one.start_s[order].tolist()
    assert other.links == tuple(one.links[i] for i in order)
    assert other.events == one.events


@settings(deadline=None)
@given(flows_of_eight)
def test_bytes_are_conserved_and_no_link_is_ever_overloaded(flows) -> None:
    """Rates times time sum to each flow's bytes; loads stay below capacity throughout."""
    traffic = Traffic(TREE.capacity_bytes_per_s)
    waiting = sorted(flows, key=lambda flow: flow.start_s)
    moved: dict[int, float] = {}
    wanted: dict[int, float] = {}
    while waiting or traffic.next_end_s < np.inf:
        now = min(traffic.next_end_s, waiting[0].start_s if waiting else np.inf)
        for flow in moved:
            moved[flow] += traffic.rate_bytes_per_s(flow) * (now - traffic.now_s)
        for ended in traffic.advance(now):
            # A tick at the rate of a link, and rounding of the sum.
            assert moved.pop(ended) == pytest.approx(wanted.pop(ended), abs=1e-9)
        while waiting and waiting[0].start_s <= now:
            flow = waiting.pop(0)
            loads = [(link, 1.0) for link in TREE.route(flow.source, flow.target, flow.key)]
            if loads:
                number = traffic.start(
                    loads, flow.num_bytes, weight=flow.weight, priority=flow.priority
                )
                moved[number], wanted[number] = 0.0, flow.num_bytes
        for link, capacity in enumerate(TREE.capacity_bytes_per_s.tolist()):
            assert traffic.load_bytes_per_s(link) <= capacity * (1 + 1e-9)
    assert not moved


def test_adaptive_routes_avoid_the_link_that_is_taken() -> None:
    """Four groups, one global link of 3 between each two: two flows from group 0 to group 1.

    Minimal, both share it: 30 B take 20 s. Adaptive, the second goes over another group: 10 s.
    """
    shape, fast, slow = DragonflyShape(4, 2, 4, 1), Lane(100.0, 0.0), Lane(3.0, 0.0)
    flows = [Flow(0, 4, 30.0), Flow(1, 5, 30.0)]
    minimal = run_flows(dragonfly(shape, fast, fast, slow), flows)
    adaptive = run_flows(dragonfly(shape, fast, fast, slow, routing="adaptive"), flows)
    assert minimal.makespan_s == pytest.approx(20.0, abs=ROUND_UP)
    assert adaptive.makespan_s == pytest.approx(10.0, abs=ROUND_UP)


def test_what_a_change_does_not_reach_is_not_computed_again() -> None:
    """500 pairs on ports of their own, sizes of their own: 500 ends, nobody else is looked at."""
    fabric = single_switch(1000, 10.0, 0.0)
    run = run_flows(fabric, [Flow(2 * i, 2 * i + 1, 10.0 + i) for i in range(500)])
    assert run.events == 501
    assert run.work.whole == 1  # all at the start
    assert run.work.flows == 500


def test_a_ring_of_equal_hops_by_hand() -> None:
    """4 ranks, 80 B: 6 steps of 20 B at 10 B/s, 0.5 s of latency and 0.5 s of software: 18 s."""
    run = ring_all_reduce(single_switch(4, 10.0, 0.25), np.arange(4), 80.0, step_s=0.5)
    assert run.end_s.tolist() == [18.0] * 4
    assert run.events == 6 * 4


def test_a_ring_waits_for_its_slowest_hop() -> None:
    """Rank 2 sends at 5 instead of 10: 4 s instead of 2 s; after 6 steps rank 3 has 6 x 4 s."""
    speeds = np.array([10.0, 10.0, 5.0, 10.0])
    run = ring_steps(single_switch(4, speeds, 0.0), np.arange(4), 20.0, 6)
    # Into rank 2 as into rank 3 at 5 B/s: both have a link of 5.
    assert run.hop_s.tolist() == [2.0, 4.0, 4.0, 2.0]
    assert run.makespan_s == 24.0


def test_a_ring_agrees_with_its_flows_one_by_one() -> None:
    """Hops of unlike speeds that share no link: the recurrence is exact."""
    rng = np.random.default_rng(3)
    ranks, steps = 5, 8
    fabric = single_switch(ranks, rng.uniform(5, 10, ranks), 0.1)
    flows: list[Flow] = []
    for step in range(steps):
        for rank in range(ranks):
            before = (step - 1) * ranks
            after = (before + rank, before + (rank - 1) % ranks) if step else ()
            flows.append(Flow(rank, (rank + 1) % ranks, 20.0, after=after))
    ring = ring_steps(fabric, np.arange(ranks), 20.0, steps)
    assert run_flows(fabric, flows).makespan_s == pytest.approx(ring.makespan_s, rel=1e-9)


def test_hashing_and_oversubscription_cost_what_balls_in_bins_say() -> None:
    """256 ports, leaves of 32: the fullest of hundreds of links holds 3 to 6 flows."""
    leaf, spine = FabricTier("leaf", 32, 1.0, 0.0), FabricTier("spine", 256, 1.0, 0.0)

    def loss(spreading: Spreading, over: float = 1.0, connections: int = 1) -> PermutationLoss:
        tiers = (leaf, replace(spine, oversubscription=over))
        return permutation_loss(
            lambda way, seed: fat_tree(256, 7.0, Tree(tiers, spreading=way, seed=seed)),
            1,
            spreading,
            connections=connections,
        )

    hashed = loss("ecmp")
    assert loss("sprayed") == PermutationLoss(pytest.approx(1.0), pytest.approx(1.0))
    assert 3 <= hashed.slowest <= 6
    assert 1 < hashed.mean < hashed.slowest
    assert 1.2 < loss("ecmp", connections=8).slowest < hashed.slowest
    assert loss("sprayed", 4.0).slowest == pytest.approx(4.0, rel=0.1)
    assert hashed == loss("ecmp")  # seeded


def test_rails_of_a_node_send_to_those_of_another() -> None:
    """Two nodes swap over one wire of 10 each way; four NICs of 10 get a quarter of it each."""
    edges = [Edge(f"node{i}/nic{k}", f"node{i}", 10.0, 0.0) for i in range(2) for k in range(4)]
    nics = [edge.a for edge in edges]
    fabric = graph_fabric("wire", [*edges, Edge("node0", "node1", 10.0, 0.0)], nics)
    swaps = permutation_loss(lambda way, seed: fabric, 4, "ecmp", samples=2)
    assert swaps == PermutationLoss(4.0, 4.0)
