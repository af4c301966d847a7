"""Recursive halving and doubling, by hand."""

import numpy as np
import pytest

from simulator.cost.collective.halving_doubling import halving_doubling_s


def test_two_levels(group_link):
    # 4 nodes of 8, 1 GB: base of the network 32 us; in the node 2 * 3 steps of 1.2 us and 2 * 7/8
    # GB at 340 GB/s; between nodes 2 * 2 messages of 10 us and 2 * 3/4 GB over 360 GB/s
    expected = 32e-6 + 6 * 1.2e-6 + 1.75e9 / 340e9 + 4 * 10e-6 + 1.5e9 / 360e9
    time_s = halving_doubling_s("all_reduce", 1e9, group_link(32.0, 4.0))
    assert time_s == pytest.approx(expected, rel=1e-12)


def test_small_messages_take_the_low_latency_protocol(group_link):
    # 8 ranks, 800 B: 5 us + 3 steps of 0.8 us + 700 B at 19 GB/s
    expected = 5e-6 + 3 * 0.8e-6 + 700 / 19e9
    time_s = halving_doubling_s("all_gather", 800.0, group_link(8.0))
    assert time_s == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("size", "nodes"), [(6.0, 1.0), (24.0, 3.0), (12.0, 2.0)])
def test_only_powers_of_two(group_link, size, nodes):
    assert halving_doubling_s("all_reduce", 1e6, group_link(size, nodes)) == np.inf


def test_latency_grows_with_the_logarithm(group_link):
    times = [
        float(halving_doubling_s("all_gather", 1.0, group_link(8.0 * n, n)))
        for n in (2.0, 4.0, 8.0, 16.0)
    ]
    assert np.diff(times) == pytest.approx([10e-6] * 3, rel=1e-6)
