"""Collectives in two levels, by hand: 4 nodes of 8, whose NICs carry 360 GB/s together."""

from dataclasses import fields, replace

import numpy as np
import pytest

from simulator.cost.collective.hierarchical import hierarchical_s
from simulator.cost.collective.two_levels import between, inside


def free_of_latency(link):
    """The link without start-ups, and with infinite bandwidth inside a node."""
    names = [field.name for field in fields(link)]
    zero = {n: 0.0 for n in names if n.endswith(("_base_s", "_hop_s", "_message_s", "_chunk_s"))}
    zero |= {"all_to_all_ramp_base_s": np.inf}
    wide = {n: np.inf for n in names if n.endswith("_bytes_per_s") and "network" not in n}
    return replace(link, **(wide | zero), network_chunk_s_per_byte=0.0)


def test_all_reduce(group_link):
    # 1 GB. In the node twice 17.6 + 7 * 1.2 us + 7/8 GB at 330 GB/s = 2.6775 ms; between nodes
    # every rank's 125 MB over 45 GB/s: ring 32 us + 2 * 3 * 14 us, tree 32 + 2 * 2 * (20 + 25) us,
    # both + 2 * 3/4 * 125 MB / 45 GB/s; a ring starts sooner
    in_node = 2 * (17.6e-6 + 7 * 1.2e-6 + 0.875e9 / 330e9)
    network = 32e-6 + 6 * 14e-6 + 1.5 * 125e6 / 45e9
    time_s = hierarchical_s("all_reduce", 1e9, group_link(32.0, 4.0))
    assert time_s == pytest.approx(in_node + network, rel=1e-12)


def test_all_gather(group_link):
    in_node = 17.6e-6 + 7 * 1.2e-6 + 0.875e9 / 330e9
    network = 32e-6 + 3 * 14e-6 + 0.75 * 125e6 / 45e9
    time_s = hierarchical_s("all_gather", 1e9, group_link(32.0, 4.0))
    assert time_s == pytest.approx(in_node + network, rel=1e-12)


@pytest.mark.parametrize("nodes", [2.0, 3.0, 64.0])
def test_a_node_sends_its_payload_almost_twice(group_link, nodes):
    # whatever the ranks of a node: 2 (N - 1) / N S
    for local in (2.0, 8.0):
        link = free_of_latency(group_link(local * nodes, nodes))
        sent = hierarchical_s("all_reduce", 1e9, link) * link.network_bytes_per_s
        assert sent == pytest.approx(2 * (nodes - 1) / nodes * 1e9, rel=1e-9)


@pytest.mark.parametrize(("size", "nodes"), [(8.0, 1.0), (8.0, 8.0)])
def test_needs_two_levels(group_link, size, nodes):
    assert hierarchical_s("all_reduce", 1e6, group_link(size, nodes)) == np.inf


def test_the_levels_of_a_group(group_link):
    link = group_link(32.0, 4.0)
    assert (inside(link).size, inside(link).num_nodes) == (8.0, 1.0)
    assert (between(link).size, between(link).network_bytes_per_s) == (4.0, 45e9)
