"""Which nodes the rings of an axis visit."""

from __future__ import annotations

import pytest

from simulator.sibling_rings import sibling_rings


def rings(
    size: int, stride: int, num_ranks: int, per_node: int = 4
) -> list[tuple[list[int], float]]:
    found = sibling_rings(size, stride, [1.0] * 4, num_ranks)
    return [
        (nodes, bytes_per_s)
        for some in found
        for nodes, bytes_per_s in zip(some.nodes.tolist(), some.bytes_per_s.tolist(), strict=True)
    ]


def test_one_group_has_a_ring_per_place() -> None:
    assert rings(16, 1, 16) == [([0, 1, 2, 3], 4.0)]


def test_groups_over_the_same_nodes_are_one() -> None:
    assert rings(4, 4, 16) == [([0, 1, 2, 3], 4.0)]
    assert rings(2, 8, 16) == [([0, 2], 4.0), ([1, 3], 4.0)]


def test_groups_within_a_node_have_none() -> None:
    assert rings(4, 1, 16) == []
    assert rings(1, 1, 16) == []


def test_a_group_is_as_wide_as_its_smallest_part() -> None:
    """Ranks 0-5, 6-11: 4 + 2 on nodes 0 and 1, 2 + 4 on nodes 1 and 2; 12-15 are no group."""
    assert rings(6, 1, 16) == [([0, 1], 2.0), ([1, 2], 2.0)]


def test_groups_over_unlike_numbers_of_nodes() -> None:
    """Ranks 0-4 and 5-9 of nodes of four: nodes 0, 1 (4 + 1) and 1, 2 (3 + 2), of 2 and 2."""
    assert rings(5, 1, 10) == [([0, 1], 1.0), ([1, 2], 2.0)]
    # Members per node: 2 + 1 + 1, 1 + 2 + 1, 1 + 1 + 2.
    assert rings(4, 3, 12) == [([0, 1, 2], 1.0)] * 3
    # 0-6: nodes 0, 1 (4 + 3); 7-13: nodes 1, 2, 3 (1 + 4 + 2).
    assert rings(7, 1, 14) == [([0, 1], 3.0), ([1, 2, 3], 1.0)]


def test_unused_ranks_send_nothing() -> None:
    assert rings(2, 4, 9) == [([0, 1], 4.0)]
    assert rings(2, 4, 6) == [([0, 1], 2.0)]


def test_the_narrowest_share_of_a_group_counts() -> None:
    """Groups 0 and 2 (NICs of 1 and 3), 1 and 3 (of 5 and 5), of nodes of two."""
    (ring,) = sibling_rings(2, 2, [3.0, 5.0], 4)
    assert ring.nodes.tolist() == [[0, 1]]
    assert ring.bytes_per_s == pytest.approx(3.0 + 5.0)
    (ring,) = sibling_rings(4, 1, [3.0, 5.0], 4)
    assert ring.bytes_per_s == pytest.approx(2 * 3.0)
