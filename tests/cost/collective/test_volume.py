"""Bus bytes in the nccl-tests convention."""

import numpy as np
import pytest

from simulator.cost.collective.volume import bus_bytes


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # n = 4, S = 100: 2 * 3 / 4 * 100; 3 / 4 * 100; the whole buffer
        ("all_reduce", 150.0),
        ("all_gather", 75.0),
        ("reduce_scatter", 75.0),
        ("all_to_all", 75.0),
        ("broadcast", 100.0),
    ],
)
def test_by_hand(kind, expected):
    assert bus_bytes(kind, 100.0, 4.0) == expected
    assert bus_bytes(kind, 100.0, 1.0) == 0.0
    np.testing.assert_array_equal(bus_bytes(kind, 100.0, np.array([1.0, 4.0])), [0.0, expected])
