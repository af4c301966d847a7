"""Tree times worked by hand."""

from dataclasses import replace

import numpy as np
import pytest

from simulator.cost.collective.tree import tree_s


def test_four_nodes(group_link):
    # 2 levels, up and down: 32 + 4 * (20 + min(2.2e-12 * 1e9, 25 us)) = 32 + 180 us, and
    # V = 2 * 31 / 32 GB at 340 GB/s inside the node (the network has 360).
    expected = 212e-6 + 2 * 31 / 32 * 1e9 / 340e9
    assert tree_s("all_reduce", 1e9, group_link(32.0, 4.0)) == pytest.approx(expected, rel=1e-12)


def test_small_messages_fill_the_pipeline_sooner(group_link):
    # 1 MB: a level costs 20 + 2.2 us.
    expected = 32e-6 + 4 * 22.2e-6 + 2 * 31 / 32 * 1e6 / 340e9
    assert tree_s("all_reduce", 1e6, group_link(32.0, 4.0)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("nodes", "levels"), [(2, 1), (3, 2), (4, 2), (5, 3), (1024, 10)])
def test_levels_grow_with_the_logarithm(group_link, nodes, levels):
    # 1 byte: only latency, up to the 1e-11 s of the byte itself
    time_s = tree_s("all_reduce", 1.0, group_link(8.0 * nodes, float(nodes)))
    assert time_s == pytest.approx(32e-6 + 2 * levels * 20e-6, rel=1e-6)


def test_two_nodes_exchange_the_payload_once(group_link):
    # One rank on each: S = 1 GB at 360 GB/s.
    expected = 32e-6 + 2 * 45e-6 + 1e9 / 360e9
    assert tree_s("all_reduce", 1e9, group_link(2.0, 2.0)) == pytest.approx(expected, rel=1e-12)


def test_needs_several_nodes(group_link):
    assert tree_s("all_reduce", 1e6, group_link(8.0)) == np.inf


def test_only_nvls_trees_carry_less_than_rings_between_two_nodes(group_link):
    """16 ranks, 1 GB: 2 * 15 / 16 GB through a network of 360 GB/s, or with NVLS the payload."""
    plain = tree_s("all_reduce", 1e9, group_link(16.0, 2.0))
    assert plain == pytest.approx(32e-6 + 90e-6 + max(1.875e9 / 340e9, 1.875e9 / 360e9))
    nvls = replace(group_link(16.0, 2.0), in_network_bytes_per_s=1000e9)
    assert tree_s("all_reduce", 1e9, nvls) == pytest.approx(32e-6 + 90e-6 + 1e9 / 360e9)
    # inside the nodes the bus bytes remain
    chosen = replace(group_link(16.0, 2.0), network_two_node_trees=1.0)
    assert tree_s("all_reduce", 1e9, chosen) == pytest.approx(32e-6 + 90e-6 + 1.875e9 / 340e9)


def test_short_messages_are_copied_and_long_ones_wait_for_a_handshake(group_link):
    """Two nodes, one level up and one down: 32 + 2 * (20 + 2.2e-12 S + min(1e-9 S, 25 us)).

    The copy of 10 kB takes 10 us; of 1 MB it would take 1 ms, so that it waits the 25 us.
    """
    eager = replace(group_link(16.0, 2.0), network_eager_s_per_byte=1e-9, network_handshake_s=25e-6)
    short = 32e-6 + 2 * (20e-6 + 2.2e-8 + 10e-6) + 1.875e4 / 340e9
    assert tree_s("all_reduce", 1e4, eager) == pytest.approx(short, rel=1e-12)
    long = 32e-6 + 2 * (20e-6 + 2.2e-6 + 25e-6) + 1.875e6 / 340e9
    assert tree_s("all_reduce", 1e6, eager) == pytest.approx(long, rel=1e-12)
    # every level pays: four nodes have two
    deeper = replace(
        group_link(32.0, 4.0), network_eager_s_per_byte=1e-9, network_handshake_s=25e-6
    )
    added = tree_s("all_reduce", 1e6, deeper) - tree_s("all_reduce", 1e6, group_link(32.0, 4.0))
    assert added == pytest.approx(4 * 25e-6, rel=1e-9)
