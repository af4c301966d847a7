"""Collectives on a torus, by hand."""

import numpy as np
import pytest

from simulator.cost.collective.torus import bucket_s, torus_s
from simulator.machine import Torus
from simulator.torus import torus_span

W = 45e9


def test_all_axes_at_once(links):
    # 64 devices, 1 GB: 17.6 us + 2 * 6 us + 2 * 63/64 GB at 330 GB/s
    expected = 17.6e-6 + 12e-6 + 2 * 63 / 64 * 1e9 / 330e9
    assert torus_s("all_reduce", 1e9, links["torus"]) == pytest.approx(expected, rel=1e-12)


def test_one_axis_after_another(links):
    # LL128 starts in 5.2 us and carries 218 GB/s, more than the links of one axis
    expected = 5.2e-6 + 6e-6 + 63 / 64 * 1e9 / 165e9
    assert bucket_s("all_gather", 1e9, links["torus"]) == pytest.approx(expected, rel=1e-12)


def test_bandwidth_of_a_bucket():
    # 4 x 4 x 4: an all-gather of S takes 3/4 S, 3/16 S and 3/64 S, each at 2 W: 63/64 S at 2 W
    cube = torus_span(64, 1, Torus((4, 4, 4), W, 1e-6))
    assert cube.bucket_bytes_per_s == pytest.approx(2 * W, rel=1e-12)
    assert cube.bytes_per_s == 6 * W
    # 4 x 2, half of the second axis: 3/4 at 2 W, then 1/8 at W: 7/8 / (3/8 + 1/8) W = 7/4 W
    flat = torus_span(8, 1, Torus((4, 4, 4), W, 1e-6))
    assert flat.bucket_bytes_per_s == pytest.approx(1.75 * W, rel=1e-12)


def test_little_starts_as_a_ring_does(links):
    # 1 kB in LL: 5 us + 2 * 6 us + 2 * 63/64 kB at 19 GB/s
    expected = 5e-6 + 12e-6 + 2 * 63 / 64 * 1e3 / 19e9
    assert torus_s("all_reduce", 1e3, links["torus"]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("time_s", [torus_s, bucket_s])
def test_only_on_a_torus(group_link, time_s):
    assert time_s("all_reduce", 1e6, group_link(8.0)) == np.inf
    assert time_s("all_reduce", 1e6, group_link(32.0, 4.0)) == np.inf
