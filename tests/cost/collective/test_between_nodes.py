"""PAT and in-switch reduction between nodes, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from simulator.cost.collective.collnet import collnet_s
from simulator.cost.collective.pat import pat_s
from simulator.cost.collective.ring import ring_s


def test_pat(group_link):
    # 32 nodes: 32 us + 5 * 14 / 3.5 us + 32 * 2.8 us + 31/32 GB at 0.75 * 360 GB/s
    expected = 32e-6 + 20e-6 + 89.6e-6 + 31 / 32 * 1e9 / 270e9
    assert pat_s("all_gather", 1e9, group_link(32.0, 32.0)) == pytest.approx(expected, rel=1e-12)


def test_pat_starts_sooner_and_ends_later_than_a_ring(group_link):
    rail = group_link(256.0, 256.0)
    assert pat_s("all_gather", 1e3, rail) < 0.3 * ring_s("all_gather", 1e3, rail)
    assert pat_s("all_gather", 64e9, rail) > 1.3 * ring_s("all_gather", 64e9, rail)


@pytest.mark.parametrize(("size", "nodes"), [(8.0, 1.0), (32.0, 4.0)])
def test_pat_needs_one_rank_per_node(group_link, size, nodes):
    assert pat_s("all_gather", 1e6, group_link(size, nodes)) == np.inf


def test_collnet_sends_the_payload_once(group_link):
    # one rank per node, 1 GB: 32 us + 2 * (20 + 25) us + 1 GB at 360 GB/s, on any number of nodes
    expected = 32e-6 + 90e-6 + 1e9 / 360e9
    for nodes in (4.0, 1024.0):
        time_s = collnet_s("all_reduce", 1e9, group_link(nodes, nodes))
        assert time_s == pytest.approx(expected, rel=1e-12)


def test_collnet_waits_for_the_node(group_link):
    # 128 nodes of 8 whose switch reduces at 460 GB/s of bus bandwidth: 2 * 1023/1024 GB / 460
    link = replace(group_link(1024.0, 128.0), in_network_bytes_per_s=460e9)
    expected = 32e-6 + 90e-6 + 2 * 1023 / 1024 * 1e9 / 460e9
    assert collnet_s("all_reduce", 1e9, link) == pytest.approx(expected, rel=1e-12)


def test_collnet_is_between_nodes(group_link):
    assert collnet_s("all_reduce", 1e6, group_link(8.0)) == np.inf
