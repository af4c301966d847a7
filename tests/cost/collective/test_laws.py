"""Laws of the choice among algorithms, for payloads and groups drawn at random."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.cost.collective import ALGORITHMS, bus_bytes, collective_s
from simulator.cost.collective.all_to_all import all_to_all_s
from simulator.machine import USUAL_ALGORITHMS

KINDS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all")
payloads = st.floats(1.0, 1e11)
node_counts = st.sampled_from([1.0, 2.0, 3.0, 4.0, 16.0, 100.0, 1024.0])
local_counts = st.sampled_from([1.0, 2.0, 4.0, 8.0])
kinds = st.sampled_from(KINDS)
reuse_links = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50
)


@given(kind=kinds, payload=payloads, nodes=node_counts, local=local_counts)
@reuse_links
def test_no_forced_algorithm_beats_the_choice(kind, payload, nodes, local, group_link):
    link = group_link(nodes * local, nodes, in_network=True)
    everything = replace(link, algorithms=tuple(ALGORITHMS))
    for choice in (link, everything):
        chosen = collective_s(kind, payload, choice)
        for name in choice.algorithms:
            forced = collective_s(kind, payload, replace(choice, algorithms=(name,)))
            assert forced >= chosen


@given(kind=kinds, payload=payloads, nodes=node_counts, local=local_counts)
@reuse_links
def test_more_algorithms_never_cost(kind, payload, nodes, local, group_link):
    link = group_link(nodes * local, nodes)
    usual = collective_s(kind, payload, link)
    assert collective_s(kind, payload, replace(link, algorithms=tuple(ALGORITHMS))) <= usual


@given(low=payloads, high=payloads, kind=kinds, nodes=node_counts, local=local_counts)
@reuse_links
def test_more_bytes_take_longer(low, high, kind, nodes, local, group_link):
    link = replace(group_link(nodes * local, nodes), algorithms=tuple(ALGORITHMS))
    low, high = sorted((low, high))
    assert collective_s(kind, low, link) <= collective_s(kind, high, link)


@given(payload=payloads, kind=st.sampled_from(KINDS[:3]))
@reuse_links
def test_more_nodes_take_longer(payload, kind, group_link):
    # Two nodes send once what more send almost twice; powers of two only, as halving and doubling
    # exists on no other.
    links = [replace(group_link(8 * n, n), algorithms=tuple(ALGORITHMS)) for n in (2.0, 4.0, 16.0)]
    links.append(replace(group_link(8192.0, 1024.0), algorithms=tuple(ALGORITHMS)))
    times = [float(collective_s(kind, payload, link)) for link in links]
    assert times == sorted(times)


@given(payload=payloads, nodes=st.sampled_from([2.0, 3.0, 64.0]), local=local_counts)
@reuse_links
def test_nothing_beats_what_a_node_must_send(payload, nodes, local, group_link):
    link = group_link(nodes * local, nodes, in_network=True)
    link = replace(link, algorithms=tuple(ALGORITHMS))
    once = payload / link.network_bytes_per_s
    assert collective_s("all_reduce", payload, link) >= once
    half = bus_bytes("all_gather", payload, nodes) / link.network_bytes_per_s
    assert collective_s("all_gather", payload, link) >= half


@pytest.mark.parametrize("local", [1.0, 2.0, 8.0])
def test_a_flat_all_to_all_pays_the_nic_once_per_rank(group_link, local):
    # g ranks of a node send g (n - g) / n S through its NICs
    nodes, payload = 4.0, 64e9
    link = group_link(local * nodes, nodes)
    free = replace(link, network_message_s=0.0, all_to_all_hop_s=0.0)
    bulk_s = float(all_to_all_s("all_to_all", payload, free)) - 6e-6  # the small line's start
    size = local * nodes
    sent = bulk_s * link.network_bytes_per_s
    assert sent == pytest.approx(local * (size - local) / size * payload, rel=1e-3)


def test_what_none_of_the_named_runs_is_left_to_the_usual_ones(group_link):
    link = group_link(32.0, 4.0)
    forced = replace(link, algorithms=("tree",))
    assert collective_s("all_gather", 1e6, forced) == collective_s("all_gather", 1e6, link)
    inside = replace(group_link(8.0), algorithms=("tree",))
    assert collective_s("all_reduce", 1e6, inside) == collective_s(
        "all_reduce", 1e6, group_link(8.0)
    )


def test_columns_choose_row_by_row(group_link):
    link = replace(group_link(32.0, 4.0), algorithms=("hierarchical", "collnet"))
    payload = np.array([1e3, 1e6, 1e9])
    rows = [collective_s("all_reduce", one, link) for one in payload]
    np.testing.assert_allclose(collective_s("all_reduce", payload, link), rows, rtol=1e-14)


def test_the_usual_ones_are_known():
    assert set(USUAL_ALGORITHMS) <= set(ALGORITHMS)
