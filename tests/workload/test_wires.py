from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.numeric import FloatArray, IntArray
from simulator.workload.wires import JobFabric, fabric_load, load, ring_hops


class OneUplink:
    """Nodes of two devices under leaves of two nodes; a leaf has one link up and one down."""

    capacity_bytes_per_s: FloatArray = np.array([10.0] * 16 + [10.0] * 4)

    def routes(self, source: IntArray, target: IntArray, key: IntArray) -> IntArray:
        assert key.shape == source.shape
        leaf_a, leaf_b = source // 4, target // 4
        far = leaf_a != leaf_b
        up, down = np.where(far, 16 + leaf_a, -1), np.where(far, 18 + leaf_b, -1)
        return np.stack((source, up, down, 8 + target), axis=-1)


RATE = np.array([8.0, 8.0])
FABRIC = JobFabric(
    routes=OneUplink(),
    num_nics=2,
    nics=np.array([[0], [1]]),
    ring_bytes_per_s=RATE,
    message_bytes_per_s=RATE,
    fraction=0.8,
    nodes=np.arange(4),
)


def test_rings_go_from_node_to_node_and_back() -> None:
    # One device of each of nodes 0, 1, 2; then both of node 0 with one of node 1.
    assert ring_hops(np.array([0, 2, 4]), 2).tolist() == [[0, 2], [2, 4], [4, 0]]
    assert ring_hops(np.array([0, 1, 2]), 2).tolist() == [[0, 2], [2, 0]]
    assert ring_hops(np.array([0, 1, 2, 3]), 2).tolist() == [[0, 2], [1, 3], [2, 0], [3, 1]]


def test_a_group_in_one_node_has_no_hops() -> None:
    assert ring_hops(np.array([2, 3]), 2).size == 0
    assert load(FABRIC, ring_hops(np.array([2, 3]), 2), RATE) == ()


def test_a_hop_at_the_rate_of_its_nic_fills_its_links() -> None:
    # 8 B/s of 0.8 * 10 B/s on the sender, up, down and the receiver.
    assert dict(load(FABRIC, np.array([[0, 4]]), RATE)) == pytest.approx(
        {0: 1, 16: 1, 19: 1, 12: 1}
    )


def test_two_hops_over_one_link_load_it_twice() -> None:
    assert dict(load(FABRIC, np.array([[0, 4], [1, 5]]), RATE))[16] == pytest.approx(2)


def test_only_links_that_can_fill_are_kept_and_equal_ones_once() -> None:
    # Two rings over all four nodes: each leaf sends one hop of either up. NICs carry one hop each.
    # All four links between leaves carry the same two rings: one of them stands for all.
    ranks = np.arange(8).reshape(4, 2, 1)
    found = fabric_load(FABRIC, ranks, tp=2, sends=[])
    assert len(found.links) == 1
    assert found.asked == pytest.approx((2,))
    assert found.links[0] in range(16, 20)
    assert [dict(ring[0]) for ring in found.rings] == [{0: pytest.approx(1)}] * 2


def test_sends_load_the_links_between_their_nodes() -> None:
    # Pipeline ranks 0 and 1 of two replicas, one leaf each: both send over the same uplink.
    ranks = np.array([[[0, 4]], [[1, 5]]])
    found = fabric_load(FABRIC, ranks, tp=1, sends=[(0, 1)])
    assert [dict(sends[0, 1]) for sends in found.sends] == [{0: pytest.approx(1)}] * 2


def test_a_device_spreads_what_it_sends_over_its_nics() -> None:
    # One device per node with both NICs: half of its 16 B/s on each.
    both = replace(FABRIC, nics=np.array([[0, 1]]))
    # From node 0 to node 2: both halves over the same link up and down.
    assert dict(load(both, np.array([[0, 2]]), np.array([16.0]))) == pytest.approx(
        {0: 1, 1: 1, 16: 2, 19: 2, 12: 1, 13: 1}
    )


def test_a_job_may_lie_on_other_nodes_of_the_fabric() -> None:
    # Nodes 0 and 1 of the job are nodes 0 and 2 of the fabric, under different leaves.
    scattered = replace(FABRIC, nodes=np.array([0, 2]))
    assert load(scattered, np.array([[0, 2]]), RATE) == load(FABRIC, np.array([[0, 4]]), RATE)


class TwoUplinks(OneUplink):
    """As one, but messages with odd keys take a second link up."""

    capacity_bytes_per_s: FloatArray = np.array([10.0] * 22)

    def routes(self, source: IntArray, target: IntArray, key: IntArray) -> IntArray:
        route = super().routes(source, target, key)
        route[:, 1] = np.where((route[:, 1] >= 0) & (key % 2 == 1), 20, route[:, 1])
        return route


def test_connections_spread_a_message_over_ways() -> None:
    # Half of 8 B/s of 0.8 * 10 B/s on either uplink, all of it on what both ways share.
    spread = replace(FABRIC, routes=TwoUplinks(), connections=2)
    assert dict(load(spread, np.array([[0, 4]]), RATE)) == pytest.approx(
        {0: 1, 16: 0.5, 20: 0.5, 19: 1, 12: 1}
    )
