"""What a collective's time is made of: every field of a link has its part, and no time is left."""

from dataclasses import fields, replace

import numpy as np
import pytest

from simulator.cost.collective import ALGORITHMS
from simulator.cost.collective.pat import pat_s
from simulator.cost.collective.terms import PARTS, SHAPE, free_of, times_without_s
from simulator.machine import GroupLink


def test_every_field_has_one_part():
    named = [name for part in PARTS.values() for name in part] + list(SHAPE)
    assert sorted(named) == sorted(field.name for field in fields(GroupLink))


@pytest.mark.parametrize("name", ALGORITHMS)
def test_nothing_is_left_where_all_parts_are_free(name, links):
    algorithm = ALGORITHMS[name]
    ran = 0
    for link in links.values():
        free = link
        for part in PARTS:
            free = free_of(free, part)
        for kind in algorithm.kinds:
            if np.isfinite(algorithm.time_s(kind, 1e6, link)):
                assert algorithm.time_s(kind, 1e6, free) == 0.0
                ran += 1
    assert ran


def test_ranks_of_pat_are_latency(group_link):
    # 1,024 nodes: 32 + 10 * 14 / 3.5 + 1024 * 2.8 = 2,939 us beside 1 GB at 270 GB/s = 3,700 us
    link = group_link(1024.0, 1024.0)
    without = times_without_s(ALGORITHMS["pat"], "all_gather", 1e9, link)
    transfer_s = 1023 / 1024 * 1e9 / 270e9
    assert without["latency"] == pytest.approx(transfer_s, rel=1e-12)
    assert without["network"] == pytest.approx(32e-6 + 40e-6 + 1024 * 2.8e-6, rel=1e-12)


def test_what_a_machine_lacks_it_does_not_get(group_link):
    """No line for the middle of an all-to-all, no torus and no reducing switch appear."""
    link = group_link(8.0)
    for part in PARTS:
        free = free_of(link, part)
        assert free.all_to_all_ramp_base_s == np.inf
        assert (free.torus_bytes_per_s, free.in_network_bytes_per_s) == (0.0, 0.0)


def test_columns_are_freed_row_by_row(group_link):
    link = replace(group_link(32.0, 32.0), torus_bytes_per_s=np.array([0.0, 1e9]))
    assert list(np.atleast_1d(free_of(link, "node").torus_bytes_per_s)) == [0.0, np.inf]
    assert pat_s("all_gather", np.array([1e3, 1e9]), free_of(link, "network")).shape == (2,)
