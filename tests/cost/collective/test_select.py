"""The contract of every algorithm in the table, and of the choice among them."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.cost.collective import ALGORITHMS, bus_bytes, collective_s, weighs_rings
from simulator.machine import USUAL_ALGORITHMS, GroupLink

KINDS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast")
CASES = [
    pytest.param(name, kind, id=f"{name}-{kind}")
    for name, algorithm in ALGORITHMS.items()
    for kind in KINDS
    if kind in algorithm.kinds
]
PAYLOADS = (1.0, 1e3, 1e6, 1e9, 64e9)
payloads = st.floats(1.0, 1e12)
reuse_links = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50
)


def one(name):
    return {name: ALGORITHMS[name]}


def stack(links):
    """The links as one link of columns."""
    return GroupLink(
        **{
            f.name: np.array([getattr(link, f.name) for link in links])
            for f in fields(GroupLink)
            if f.name != "algorithms"
        }
    )


def least_seconds(kind, payload, link):
    """What no algorithm can beat: bytes that must leave a rank, and those that must leave a node.

    Inside a node a switch that reduces lets every rank send an all-reduce once instead of twice;
    its bus bandwidth says so already. Switches between nodes let every node send it once.
    """
    fastest = max(
        link.ring_bytes_per_s,
        link.all_reduce_bytes_per_s,
        link.in_network_bytes_per_s,
        link.all_to_all_bytes_per_s,
    )
    local = link.size / link.num_nodes
    if kind == "all_to_all":
        in_node = payload / link.size * (local - 1)
        leaving = payload / link.size * (link.size - local) * local
    else:
        in_node = bus_bytes(kind, payload, local)
        leaving = bus_bytes(kind, payload, link.num_nodes)
        if kind == "all_reduce" and link.num_nodes > 1:
            leaving = payload
    return max(in_node / fastest, leaving / link.network_bytes_per_s)


@pytest.mark.parametrize(("name", "kind"), CASES)
class TestEveryAlgorithm:
    """What any entry of ``ALGORITHMS`` must satisfy."""

    @pytest.mark.parametrize("payload", PAYLOADS)
    def test_costs_nothing_in_a_group_of_one(self, name, kind, payload, links):
        assert collective_s(kind, payload, links["one rank"], algorithms=one(name)) == 0.0

    @pytest.mark.parametrize("payload", PAYLOADS)
    def test_never_beats_the_wire(self, name, kind, payload, links):
        for case, link in links.items():
            time_s = collective_s(kind, payload, link, algorithms=one(name))
            assert not np.isnan(time_s), case
            # the bound is reached exactly where latency is lost to rounding
            assert time_s >= least_seconds(kind, payload, link) * (1 - 1e-12), case

    @given(low=payloads, high=payloads)
    @reuse_links
    def test_monotone_in_payload(self, name, kind, low, high, links):
        low, high = sorted((low, high))
        for case, link in links.items():
            times = [collective_s(kind, p, link, algorithms=one(name)) for p in (low, high)]
            assert times[0] <= times[1], case

    @given(rows=st.lists(payloads, min_size=1, max_size=5))
    @reuse_links
    def test_scalar_equals_row(self, name, kind, rows, links):
        everything = stack(links.values())
        for payload in rows:
            batch = collective_s(kind, payload, everything, algorithms=one(name))
            single = [
                collective_s(kind, payload, link, algorithms=one(name)) for link in links.values()
            ]
            np.testing.assert_allclose(batch, single, rtol=1e-14)
        batch = collective_s(kind, np.array(rows), links["node"], algorithms=one(name))
        single = [collective_s(kind, p, links["node"], algorithms=one(name)) for p in rows]
        np.testing.assert_allclose(batch, single, rtol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_some_algorithm_runs_every_kind_everywhere(kind, payload, links):
    for link in links.values():
        assert np.isfinite(collective_s(kind, payload, link))


@pytest.mark.parametrize("kind", ["all_reduce", "all_gather", "reduce_scatter", "broadcast"])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_time_grows_with_the_number_of_ranks(kind, payload, group_link):
    # in a node 1..8 ranks, then 2..128 full nodes; at every size latency grows even where the
    # bandwidth term has converged
    groups = [group_link(float(n)) for n in range(1, 9)]
    groups += [group_link(8.0 * n, float(n)) for n in (2, 4, 8, 16, 32, 64, 128)]
    times = [collective_s(kind, payload, link) for link in groups]
    assert np.all(np.diff(times) > 0), times


def test_the_switch_reduces_large_messages_only(links):
    link = links["node with switch reduction"]

    def ratio(payload):
        return collective_s("all_reduce", payload, link) / collective_s(
            "all_reduce", payload, link, algorithms=one("ring")
        )

    assert ratio(1e4) == 1.0
    # 340 / 460 at the limit; 72 us of start-up remain visible at 1 GB (4 ms)
    assert ratio(1e9) == pytest.approx(340 / 460, rel=0.02)


def test_trees_win_on_many_nodes_and_small_messages(links):
    time_s = collective_s("all_reduce", 1e6, links["many nodes"])
    assert time_s == collective_s("all_reduce", 1e6, links["many nodes"], algorithms=one("tree"))


@pytest.mark.parametrize(
    ("size", "num_nodes", "algorithms", "weighed"),
    [
        (16.0, 2.0, USUAL_ALGORITHMS, False),
        (2.0, 2.0, USUAL_ALGORITHMS, True),  # one rank per node
        (24.0, 3.0, USUAL_ALGORITHMS, True),
        (8.0, 1.0, USUAL_ALGORITHMS, True),
        (16.0, 2.0, ("ring",), True),  # nothing else to take
    ],
)
def test_trees_between_two_nodes_leave_no_rings(size, num_nodes, algorithms, weighed, group_link):
    link = replace(group_link(size, num_nodes), network_two_node_trees=1.0, algorithms=algorithms)
    assert weighs_rings("all_reduce", link, algorithms) == weighed
    assert weighs_rings("all_gather", link, algorithms)
    # 50 MB, where the ring would be faster
    rings_s = collective_s("all_reduce", 5e7, link, algorithms=one("ring"))
    slow = replace(link, network_hop_s=1.0)
    assert (collective_s("all_reduce", 5e7, slow) == rings_s) == weighed
    others = replace(slow, network_two_node_trees=0.0)
    assert collective_s("all_reduce", 5e7, others) == rings_s
