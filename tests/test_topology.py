"""Links of groups and pairs: by hand, and against the explicit graph of small clusters."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import PlanError
from simulator.placement import placements
from simulator.plan import ProcessGroup
from simulator.spec.hardware import load_cluster, load_node
from simulator.topology import Topology
from simulator.topology_graph import nic_shares, node_graph


def topology(name, num_nodes=None):
    return Topology.of(load_cluster(name, num_nodes=num_nodes))


def link(name, size, stride, num_nodes=None):
    return topology(name, num_nodes).group_link(ProcessGroup("dp", size, stride))


def small(node, num_nodes, tiers, fraction=1.0):
    """A cluster with tiers given as (nodes per group, oversubscription)."""
    network = {"bandwidth_fraction": fraction, "base": "1 us", "hop": "2 us", "ring_hop": "3 us"}
    network |= {"fill_bandwidth": "1 GB/s", "fill_max": "1 us", "message": "4 us", "source": "s"}
    return load_cluster(
        {
            "node": node,
            "num_nodes": {"value": num_nodes, "source": "s"},
            "tiers": [
                {"name": f"t{i}", "nodes_per_group": n, "oversubscription": o, "hop": "1 us"}
                | {"source": "s"}
                for i, (n, o) in enumerate(tiers)
            ],
            "network": network,
        }
    )


# --- inside a node


def test_switch_follows_the_measured_curve():
    # DGX A100 all-gather: 156.6, 192.8 and 206.8 GB/s at 2, 4 and 8 devices.
    for size, expected in ((2, 156.6), (4, 192.8), (8, 206.8)):
        assert link("selene", size, 1).ring_bytes_per_s == expected * 1e9
    # 6 lies log2(6/4) = 0.585 of the way from 4 to 8; 8 GPUs hold a group of 6 on one node only
    # once, so look at a cluster of one node.
    expected = 192.8e9 + (206.8e9 - 192.8e9) * math.log2(1.5)
    assert link("selene", 6, 1, 1).ring_bytes_per_s == pytest.approx(expected)


def test_switch_is_the_same_for_all_placements():
    assert link("selene", 4, 2) == link("selene", 4, 1)


def test_reduction_in_the_switch_needs_enough_ranks():
    assert link("dgx-h100-superpod", 8, 1).in_network_bytes_per_s == 461.8e9
    assert link("dgx-h100-superpod", 4, 1).in_network_bytes_per_s == 0
    assert link("selene", 8, 1).in_network_bytes_per_s == 0


def test_frontier_pair_and_node():
    # A pair has 4 links of 50 GB/s of which RCCL uses 36: 144. All 8 run one ring over single
    # links, both ways: 2 * 36.
    assert link("frontier", 2, 1).ring_bytes_per_s == 144e9
    assert link("frontier", 8, 1).ring_bytes_per_s == 72e9
    # Pairs two apart (0-2, 1-3, ...) have 1 link of 50 where the best pair has 200: 144 / 4.
    assert link("frontier", 2, 2).ring_bytes_per_s == 36e9


def test_dgx_1v():
    # Six links in three rings: the whole node reaches its measured 122 GB/s.
    assert link("dgx-1v-cluster", 8, 1).all_reduce_bytes_per_s == 122e9
    # The pair 0-1 has one link where the best has two: 41 / 2. Its sibling 2-3 is better.
    assert link("dgx-1v-cluster", 2, 1).all_reduce_bytes_per_s == 20.5e9
    # 0, 2, 4, 6 form one ring 0-2-6-4 over single links; the quad 0-3 has two such: 81 / 2.
    assert link("dgx-1v-cluster", 4, 2).all_reduce_bytes_per_s == 40.5e9


def test_devices_without_a_common_link_go_through_the_host():
    # 1-4 and 2-5 share no NVLink: PCIe's 12.3 GB/s where the best pair has 50: 41 * 12.3 / 50.
    slow = link("dgx-1v-cluster", 2, 3, 1)
    assert slow.all_reduce_bytes_per_s == pytest.approx(41e9 * 12.3 / 50)


def test_path_inside_a_node():
    assert topology("selene").path(0, 7).bandwidth_bytes_per_s == pytest.approx(0.76 * 300e9)
    assert topology("frontier").path(0, 1).bandwidth_bytes_per_s == pytest.approx(0.76 * 200e9)
    # GCDs 0 and 3 share no link: 36 GB/s each over the processor.
    assert topology("frontier").path(0, 3).bandwidth_bytes_per_s == pytest.approx(0.76 * 36e9)
    # Four devices on each socket share its 40 GB/s to the other one.
    boxes = topology("pcie-8xrtx4090-cluster")
    assert boxes.path(3, 4).bandwidth_bytes_per_s == pytest.approx(0.76 * 40e9 / 4)
    assert boxes.path(0, 1).bandwidth_bytes_per_s == pytest.approx(0.76 * 25.1e9)
    assert topology("selene").path(5, 5).bandwidth_bytes_per_s == math.inf


# --- NICs


NIC_SHARES = {  # GB/s per device, by hand
    "selene": 25,  # 8 NICs of 25, 2 of them near 2 devices each
    "jean-zay-a100": 12.5 / 2,  # 4 NICs of 12.5 for 8 devices
    "frontier": 25 / 2,  # one NIC on each pair of GCDs
    "aws-p5-cluster": 4 * 12.5,  # 32 NICs of 12.5
    "dgx-2-cluster": 12.5 / 2,  # 8 NICs of 12.5 for 16 devices
    "pcie-8xrtx4090-cluster": 12.5 / 8,  # one NIC
    "gb200-nvl72-cluster": 50,  # 72 NICs, 2 near each pair
}


@pytest.mark.parametrize("name", NIC_SHARES)
def test_nic_shares(name):
    shares = topology(name).nic_bytes_per_s
    assert shares == (pytest.approx(NIC_SHARES[name] * 1e9),) * len(shares)


def test_group_bandwidth_is_its_members_shares():
    # 0.94 of the share of one device; of eight; all siblings send at once.
    assert link("selene", 64, 8).network_bytes_per_s == pytest.approx(0.94 * 25e9)
    assert link("selene", 512, 1).network_bytes_per_s == pytest.approx(0.94 * 200e9)
    assert link("selene", 16, 4).network_bytes_per_s == pytest.approx(0.94 * 2 * 25e9)
    assert link("frontier", 64, 8).network_bytes_per_s == pytest.approx(0.19 * 12.5e9)


def test_a_group_that_straddles_nodes_is_as_wide_as_its_smallest_part():
    # 6 ranks: 0-5 lie on node 0, 6-11 lie 2 + 4 on two nodes; the worst sibling counts.
    straddling = link("selene", 6, 1)
    assert straddling.num_nodes == 2
    assert straddling.network_bytes_per_s == pytest.approx(0.94 * 2 * 25e9)
    # Only the first 6 ranks in use: nothing straddles.
    alone = topology("selene").group_link(ProcessGroup("tp", 6, 1), num_ranks=6)
    assert alone.num_nodes == 1


def test_uneven_placement_counts_nodes():
    # Ranks 0, 3, 6, 9, ... 21 on nodes of 8: {0,3,6}, {9,12,15}, {18,21}.
    place = next(placements(8, 3, 8, 24))
    assert (place.num_nodes, place.fewest, place.local) == (3, 2, (0, 3, 6))


# --- fabric


def test_oversubscription_counts_what_crosses():
    # 4 nodes under a leaf, 16 in all, 1:4 above the leaves, NICs of 8 * 50 GB/s per node.
    clos = Topology.of(small("dgx-h100", 16, [(4, 1), (16, 4)]))

    def network(size, stride):
        return clos.group_link(ProcessGroup("dp", size, stride)).network_bytes_per_s

    # Within a leaf: the full 50 GB/s of one NIC.
    assert network(4, 8) == 50e9
    # One rank on each of 16 nodes: of 16 hops, the 4 between leaves cross; 4 * 4/16 = 1: no loss.
    assert network(16, 8) == 50e9
    # Every other node: 4 of 8 hops cross, 4 * 1/2 = 2: half.
    assert network(8, 16) == 25e9
    # One node of each leaf: all hops cross: a quarter.
    assert network(4, 32) == 12.5e9


def test_pods_of_the_24k_cluster():
    # 384 nodes per pod, 1:7. Neighbouring stages in different pods: 50 * 0.85 / 7.
    assert link("meta-h100-roce-24k", 8, 3072).network_bytes_per_s == pytest.approx(0.85 * 50e9 / 7)
    # A ring that visits all nodes in order leaves a pod once in 384 hops: no loss.
    assert link("meta-h100-roce-24k", 3072, 8).network_bytes_per_s == pytest.approx(0.85 * 50e9)
    # A send 16 nodes away: 16/384 of them cross, 7 * 16/384 < 1. One 384 nodes away: all do.
    pods = topology("meta-h100-roce-24k")
    assert pods.path(376 * 8, 392 * 8).bandwidth_bytes_per_s == pytest.approx(0.85 * 50e9)
    assert pods.path(0, 384 * 8).bandwidth_bytes_per_s == pytest.approx(0.85 * 50e9 / 7)


def test_latency_of_the_tiers():
    three = Topology.of(small("dgx-h100", 64, [(4, 1), (16, 1), (64, 1)]))
    # message 4 us and 1 us per tier on the way
    assert three.path(0, 8).latency_s == pytest.approx(5e-6)
    assert three.path(0, 8 * 4).latency_s == pytest.approx(6e-6)
    assert three.path(0, 8 * 63).latency_s == pytest.approx(7e-6)
    # the measured hop of 2 us holds the lowest tier; the two above add 1 us each
    assert three.group_link(ProcessGroup("dp", 64, 8)).network_hop_s == pytest.approx(4e-6)


def ring_on_graph(clos, group, num_ranks):
    """Narrowest share over all rings of an axis, each hop routed in the explicit graph."""
    graph = clos.cluster_graph(max_nodes=clos.cluster.num_nodes)
    per_node = clos.devices_per_node
    span = group.size * group.stride
    firsts = [b + j for b in range(0, num_ranks, span) for j in range(group.stride)]
    flows: Counter[tuple[str, str]] = Counter()
    ways = []
    for first in firsts:
        ranks = group.ranks(first)
        for a, b in pairwise((*ranks, ranks[0])):
            # With one NIC per device, device i sends and receives through NIC i.
            start, end = (f"node{r // per_node}/nic{r % per_node}" for r in (a, b))
            way = list(pairwise(nx.shortest_path(graph, start, end)))
            ways.append(way)
            flows.update(way)
    return min(graph.edges[hop]["bandwidth"] / flows[hop] for way in ways for hop in way)


@settings(deadline=None)
@given(
    below=st.sampled_from([1, 2, 4]),
    ratio=st.sampled_from([1.0, 2.0, 3.0, 7.0]),
    top=st.sampled_from([1.0, 4.0]),
    size_power=st.integers(1, 4),
    stride_power=st.integers(0, 3),
)
def test_closed_form_equals_the_graph(below, ratio, top, size_power, stride_power):
    """One rank per node on each rail: bottleneck by enumerating every hop of every ring."""
    tiers = [(below, 1.0), (8, ratio), (16, top)]
    clos = Topology.of(small("dgx-h100", 16, tiers))
    size, stride = 2**size_power, 8 * 2**stride_power
    if size * stride > clos.num_devices:
        size = clos.num_devices // stride
    group = ProcessGroup("dp", size, stride)
    expected = ring_on_graph(clos, group, clos.num_devices)
    actual = clos.group_link(group).network_bytes_per_s
    assert actual == pytest.approx(expected, rel=1e-12)


# --- whole clusters


def test_group_beyond_the_cluster():
    with pytest.raises(PlanError, match=r"needs 121 devices.*8 nodes \* 8 devices = 64") as caught:
        link("selene", 16, 8, 8)
    assert caught.value.where == "plan.dp"
    with pytest.raises(PlanError, match="rank 64 is beyond the 64 devices"):
        topology("selene", 8).path(0, 64)


def test_group_of_the_first_and_last_stage():
    # Ranks 0-7 with 56-63 of 64: seven nodes apart, though 2 * 56 exceeds the cluster.
    ends = link("selene", 2, 56, 8)
    assert ends.num_nodes == 2
    assert ends.network_bytes_per_s == pytest.approx(0.94 * 25e9)


def test_group_of_one():
    alone = link("selene", 1, 1)
    assert (alone.size, alone.num_nodes, alone.network_bytes_per_s) == (1, 1, math.inf)


def test_answers_are_kept():
    top = topology("selene")
    group = ProcessGroup("dp", 560, 8)
    assert top.group_link(group) is top.group_link(group)


@pytest.mark.parametrize(("size", "stride"), [(1536, 8), (12288, 1), (96, 128), (8, 1), (6, 1)])
def test_a_large_cluster_is_answered_fast(size, stride):
    top = topology("clos-a100-12288")
    group = ProcessGroup("dp", size, stride)
    best = math.inf
    for _ in range(3):  # the best of three keeps other processes out
        fresh = Topology.of(top.cluster)
        start = time.perf_counter()
        fresh.group_link(group)
        best = min(best, time.perf_counter() - start)
    assert best < 5e-3


def test_torus_group():
    # 16 chips of a v4 pod fill one axis: both directions of 45 GB/s, 0.9 of which is reached.
    axis = link("tpu-v4-pod", 16, 1)
    assert axis.num_nodes == 1
    assert axis.ring_bytes_per_s == pytest.approx(0.9 * 2 * 45e9)
    assert link("tpu-v4-pod", 4096, 1).ring_bytes_per_s == pytest.approx(0.9 * 6 * 45e9)
    # 15 ring steps in the 8 hops of 1 us half way round.
    assert axis.simple_hop_s == pytest.approx(8e-6 / 15)
    # An all-to-all of S over 16 chips of an axis takes 16 S / (8 W), of which 15/16 S leave a chip.
    assert axis.all_to_all_bytes_per_s == pytest.approx(0.9 * 2 * 45e9 / 4 * 15 / 16)


def test_torus_path():
    # Chip 0 to chip 8 of the first axis: 8 hops of 1 us.
    path = topology("tpu-v4-pod").path(0, 8)
    assert path.latency_s == pytest.approx(8e-6)
    assert path.bandwidth_bytes_per_s == pytest.approx(0.9 * 45e9)
    assert path.crosses_network == 0


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_fewer_nics_are_shared_evenly(count):
    """8 devices on n NICs of 50 GB/s: each has n / 8 of one NIC, wherever the NICs hang."""
    nics = {"count": {"value": count, "source": "test"}}
    node = load_node({"extends": "dgx-h100", "nics": nics})
    shares = nic_shares(node, node_graph(node))
    assert sum(shares) == pytest.approx(count * node.nic_bytes_per_s)
    assert min(shares) == pytest.approx(count * node.nic_bytes_per_s / 8)


def test_messages_have_a_share_of_their_own_where_collectives_leave_adapters_unused():
    """An adapter of 25 GB/s serves two dies: 0.8 of it in messages, 0.19 of all in collectives."""
    cluster = load_cluster("frontier", num_nodes=2)
    path = Topology.of(cluster).path(0, 8)
    assert path.bandwidth_bytes_per_s == pytest.approx(0.8 * 12.5e9)
    as_collectives = replace(cluster, network=replace(cluster.network, message_fraction=None))
    other = Topology.of(as_collectives).path(0, 8)
    assert other.bandwidth_bytes_per_s == pytest.approx(0.19 * 12.5e9)
