"""Rings over direct links, by hand."""

from __future__ import annotations

from itertools import combinations

import pytest

from simulator.rings import ring_bandwidth

CUBE = {
    (0, 1): 1, (0, 2): 1, (0, 3): 2, (0, 4): 2, (1, 2): 2, (1, 3): 1, (1, 5): 2, (2, 3): 2,
    (2, 6): 1, (3, 7): 1, (4, 5): 1, (4, 6): 1, (4, 7): 2, (5, 6): 2, (5, 7): 1, (6, 7): 2,
}  # fmt: skip
"""Hybrid cube mesh of DGX-1V, in links."""


def test_one_and_two_devices():
    assert ring_bandwidth([3], {}) == float("inf")
    assert ring_bandwidth([0, 3], CUBE) == 2
    assert ring_bandwidth([5, 0], CUBE) == 0


def test_cube_mesh_uses_all_six_links():
    # 0-3-2-1-5-6-7-4 over double links and 0-1-3-7-5-4-6-2 over single ones, both ways:
    # 2 * (2 + 1) = 6 = the links of every device, so no ring set can be wider.
    assert ring_bandwidth(range(8), CUBE) == 6


def test_quad_of_the_cube_mesh():
    # 0-1-2-3 and 0-2-1-3 share no link more than it has: 2 * (1 + 1).
    assert ring_bandwidth([0, 1, 2, 3], CUBE) == 4
    # 0-3-7-4 is the only cycle of these; its slowest link is 3-7.
    assert ring_bandwidth([0, 3, 7, 4], CUBE) == 2
    # A path 3-0-4-5 has no ring.
    assert ring_bandwidth([3, 0, 4, 5], CUBE) == 0


@pytest.mark.parametrize("size", [3, 4, 5, 6, 7])
def test_complete_graph(size):
    # K_n splits into (n - 1) // 2 cycles, each used both ways. The greedy choice finds all of
    # them for odd n up to 5 and at least half beyond.
    links = dict.fromkeys(combinations(range(size), 2), 1.0)
    best = 2 * ((size - 1) // 2)
    assert best / 2 <= ring_bandwidth(range(size), links) <= best


def test_large_group_is_searched_greedily():
    # Twelve devices in a circle of width 3 with thin chords: the circle must be found.
    links = dict.fromkeys(combinations(range(12), 2), 0.1)
    links |= {(i, i + 1): 3.0 for i in range(11)} | {(0, 11): 3.0}
    assert ring_bandwidth(range(12), links) >= 6


def test_order_of_devices_does_not_matter():
    assert ring_bandwidth([3, 1, 0, 2], CUBE) == ring_bandwidth([0, 1, 2, 3], CUBE)
