"""Switch reduction worked by hand."""

import numpy as np
import pytest

from simulator.cost.collective.in_network import in_network_s


def test_has_no_steps(group_link):
    # 72 us + 1.75 GB / 460 GB/s
    time_s = in_network_s("all_reduce", 1e9, group_link(8.0, in_network=True))
    assert time_s == pytest.approx(72e-6 + 1.75e9 / 460e9, rel=1e-12)


def test_infinite_without_such_a_switch_and_between_nodes(group_link):
    assert in_network_s("all_reduce", 1e9, group_link(8.0)) == np.inf
    assert in_network_s("all_reduce", 1e9, group_link(16.0, 2.0, in_network=True)) == np.inf
