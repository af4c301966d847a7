"""All-to-all times worked by hand."""

from dataclasses import replace

import pytest

from simulator.cost.collective.all_to_all import all_to_all_s


def test_bulk_in_a_node(group_link):
    # 8 ranks, 1 GB: 13 + 8 * 0.1 us + 7 / 8 GB at 300 GB/s
    expected = 13.8e-6 + 0.875e9 / 300e9
    assert all_to_all_s("all_to_all", 1e9, group_link(8.0)) == pytest.approx(expected, rel=1e-12)


def test_small_messages_start_sooner(group_link):
    # 8 kB: 6 + 0.8 us + 7 kB at 12 GB/s = 7.38 us, against 13.8
    expected = 6.8e-6 + 7e3 / 12e9
    assert all_to_all_s("all_to_all", 8e3, group_link(8.0)) == pytest.approx(expected, rel=1e-12)


def test_messages_of_middle_size_take_few_channels(group_link):
    # 1 MB of 8 ranks: 9 + 0.8 us + 875 kB at 100 GB/s = 18.55 us, between the small line,
    # 6.8 us + 875 kB at 12 GB/s = 79.7, and the bulk one, with 40 us: 40.8 + 2.9
    link = replace(
        group_link(8.0),
        all_to_all_base_s=40e-6,
        all_to_all_ramp_base_s=9e-6,
        all_to_all_ramp_bytes_per_s=100e9,
    )
    expected = 9.8e-6 + 875e3 / 100e9
    assert all_to_all_s("all_to_all", 1e6, link) == pytest.approx(expected, rel=1e-12)


def test_the_network_part_runs_beside_the_node_part(group_link):
    # 2 nodes of 8, 1.6 GB: shards of 0.1 GB. 7 stay (0.7 GB at 300 = 2.3 ms), 8 leave, and 8
    # ranks share 360 GB/s: 8 * 0.1 * 8 / 360 = 17.8 ms. Small protocol: 6 us base, and its node
    # part at 12 GB/s would take 58 ms. One message to the other node: 10 us.
    expected = 13e-6 + 1.6e-6 + 10e-6 + 6.4e9 / 360e9
    time_s = all_to_all_s("all_to_all", 1.6e9, group_link(16.0, 2.0))
    assert time_s == pytest.approx(expected, rel=1e-12)
