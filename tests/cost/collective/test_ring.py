"""Ring times worked by hand, one protocol at a time."""

import pytest

from simulator.cost.collective.ring import ring_s


def test_small_messages_use_the_low_latency_protocol(group_link):
    # 8 ranks, all-reduce of 800 B: k = 14, V = 2 * 7 / 8 * 800 = 1400 B.
    # LL: 5 + 14 * 0.8 + 1400 / 19e9 = 16.27 us; LL128: 5.2 + 12.6 + ~0 = 17.8 us.
    expected = 5e-6 + 14 * 0.8e-6 + 1400 / 19e9
    assert ring_s("all_reduce", 800.0, group_link(8.0)) == pytest.approx(expected, rel=1e-12)


def test_medium_messages_use_ll128(group_link):
    # all-gather of 1.6 MB on 8: k = 7, V = 1.4 MB. LL128 5.2 + 6.3 + 1.4e6 / 218e9 = 17.92 us;
    # Simple 17.6 + 8.4 + 4.24 = 30.2; LL 5 + 5.6 + 73.7 = 84.3.
    expected = 5.2e-6 + 7 * 0.9e-6 + 1.4e6 / 218e9
    assert ring_s("all_gather", 1.6e6, group_link(8.0)) == pytest.approx(expected, rel=1e-12)


def test_bulk_bandwidth_depends_on_the_kind(group_link):
    # 8 GB on 8 ranks: all-gather 7 GB at 330 GB/s, all-reduce 14 GB at 340 GB/s.
    gather_s = ring_s("all_gather", 8e9, group_link(8.0))
    reduce_s = ring_s("all_reduce", 8e9, group_link(8.0))
    assert gather_s == pytest.approx(17.6e-6 + 7 * 1.2e-6 + 7e9 / 330e9, rel=1e-12)
    assert reduce_s == pytest.approx(17.6e-6 + 14 * 1.2e-6 + 14e9 / 340e9, rel=1e-12)


def test_between_nodes_some_steps_cross_the_network(group_link):
    # 4 nodes of 8: k = 31 of which 3 cross; base 32 us; in-node 330 GB/s is the slower.
    expected = 32e-6 + 28 * 1.2e-6 + 3 * 14e-6 + 31 / 32 * 8e9 / 330e9
    assert ring_s("all_gather", 8e9, group_link(32.0, 4.0)) == pytest.approx(expected, rel=1e-12)


def test_one_rank_per_node_uses_the_network_only(group_link):
    # 8 nodes: k = kN = 7, 360 GB/s of network and no in-node link.
    expected = 32e-6 + 7 * 14e-6 + 7 / 8 * 8e9 / 360e9
    assert ring_s("all_gather", 8e9, group_link(8.0, 8.0)) == pytest.approx(expected, rel=1e-12)
