from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.numeric import FloatArray, IntArray
from simulator.workload import wires
from simulator.workload.wires import JobFabric, exchange_hops, group_load, load, ring_hops


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


def test_an_all_to_all_goes_between_all_pairs_on_different_nodes() -> None:
    # Both devices of node 0 and one of node 1.
    assert exchange_hops(np.array([0, 1, 2]), 2).tolist() == [[0, 2], [1, 2], [2, 0], [2, 1]]
    assert exchange_hops(np.array([2, 3]), 2).size == 0


def test_an_all_to_all_spreads_what_a_rank_sends_over_its_partners() -> None:
    # One device on each of nodes 0, 1, 2: each sends 4 of its 8 B/s to either other one. Nodes 0
    # and 1 are on one leaf: both send 4 B/s up, and node 2 sends both of them 4 B/s down.
    found = dict(group_load(FABRIC, np.array([0, 2, 4]), RATE, exchanges=True))
    ports = dict.fromkeys((0, 2, 4, 8, 10, 12), 1.0)
    assert found == pytest.approx({**ports, 16: 1, 19: 1, 17: 1, 18: 1})


def test_hops_are_routed_in_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    hops = exchange_hops(np.arange(8), 2)
    whole = load(FABRIC, hops, RATE)
    monkeypatch.setattr(wires, "MAX_HOPS_AT_ONCE", 5)
    assert dict(load(FABRIC, hops, RATE)) == pytest.approx(dict(whole))


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
