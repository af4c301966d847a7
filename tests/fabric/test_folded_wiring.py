"""What folded groups get of links between sites, in graphs, between pods: by fluid, and by laws."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.cost.collective import collective_s
from simulator.errors import SpecError
from simulator.fabric.cluster import Routing, fabric_of, network_of
from simulator.fabric.fair import Incidence, fair_rates
from simulator.fabric.fluid import Flow, run_flows
from simulator.fabric.ring import ring_steps
from simulator.machine import Cluster, GroupLink
from simulator.plan import ProcessGroup
from simulator.scenario import Scenario
from simulator.simulate import simulate
from simulator.spec.hardware import load_cluster
from simulator.spec.load import load_scenario
from simulator.topology import Topology

SOURCE = "a test"
BASE = "dgx-h100-superpod"
ROUNDING = 1e-9
"""Both sides divide the same figures, in another order."""
TICKS = 1e-3
"""Fluid ends include microseconds of latency beside hundreds of milliseconds of transfer."""
GROUPS = ((48, 1), (6, 8), (24, 2), (2, 24), (16, 1), (12, 3), (3, 16))
"""(size, stride) on six nodes of eight: one group, one per place, neighbours, groups that straddle
sites, groups that straddle nodes, every second node."""


HASHED = Routing()
SPRAYED = Routing(spreading="sprayed")


def sourced(**values: object) -> dict[str, object]:
    return {key: {"value": value, "source": SOURCE} for key, value in values.items()}


def wired(num_nodes: int, *, base: str = BASE, **fabric: object) -> Cluster:
    return load_cluster({"extends": base, **sourced(num_nodes=num_nodes), "fabric": fabric})


def sites(
    num_nodes: int, per_site: int, bandwidth: str = "800 Gbps", latency: str = "5 ms"
) -> Cluster:
    facts = sourced(nodes_per_site=per_site, bandwidth=bandwidth, latency=latency)
    return wired(num_nodes, kind="wan", **facts)


def graph(num_nodes: int, links: list[list[str]]) -> Cluster:
    return wired(num_nodes, kind="graph", **sourced(links=links))


def link_of(cluster: Cluster, size: int, stride: int = 1) -> GroupLink:
    return Topology.of(cluster).group_link(ProcessGroup("dp", size, stride))


def fluid(
    cluster: Cluster,
    size: int,
    stride: int,
    kind: Literal["ring", "all_to_all"],
    routing: Routing = HASHED,
) -> tuple[float, float]:
    """Slowest of all flows of all groups at once, and the least that a node of a group sends.

    Every rank has a NIC of its own. A ring's node sends to the next one, that of an all-to-all to
    all others alike.
    """
    ranks, ends, rings = cluster.num_devices, [], 8
    for first in range(ranks):
        group = first + stride * np.arange(size)
        if first % (size * stride) >= stride or group[-1] >= ranks:
            continue
        by_node = [group[group // 8 == node] for node in np.unique(group // 8)]
        rings = min(rings, *map(len, by_node))
        for nth in range(min(map(len, by_node))):
            members = [int(own[nth]) for own in by_node]
            if kind == "ring":
                ends += zip(members, [*members[1:], members[0]], strict=True)
            else:
                ends += [(a, b) for a in members for b in members]
    source, target = np.array([(a, b) for a, b in ends if a // 8 != b // 8]).T
    fabric = network_of(cluster, routing)
    routes = fabric.routes(source, target)
    row, column = np.nonzero(routes >= 0)
    links, place = np.unique(routes[row, column], return_inverse=True)
    rates = fair_rates(
        Incidence(row, place, np.ones(len(row))),
        fabric.capacity_bytes_per_s[links],
        np.ones(len(routes)),
        np.full(len(routes), math.inf),
    ).rate
    return float(rates.min()), rings


LINE = [[f"node{i}", f"node{i + 1}", "800 Gbps", "1 us"] for i in range(5)]
STAR = [[f"node{i}", "hub", "800 Gbps", "1 us"] for i in range(6)]
DUMBBELL = [[f"node{i}", f"hub{i // 3}", "3200 Gbps", "1 us"] for i in range(6)]
DUMBBELL += [["hub0", "hub1", "400 Gbps", "1 ms"]]
FABRICS = {
    "two sites": sites(6, 3),
    "three sites": sites(6, 2),
    "sites of unlike size": sites(6, 4),
    "line": graph(6, LINE),
    "star": graph(6, STAR),
    "dumbbell": graph(6, DUMBBELL),
}
"""Between two nodes there is one way, so that hashes have no choice."""


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("name", FABRICS)
def test_rings_get_what_fluid_flows_get(name: str, group: tuple[int, int]) -> None:
    cluster = FABRICS[name]
    link = link_of(cluster, *group)
    rate, rings = fluid(cluster, *group, "ring")
    expected = cluster.network.bandwidth_fraction * rings * rate
    assert link.network_bytes_per_s == pytest.approx(expected, rel=ROUNDING)


@pytest.mark.parametrize("group", [group for group in GROUPS if group != (12, 3)])
@pytest.mark.parametrize("name", FABRICS)
def test_all_to_alls_get_what_fluid_flows_get(name: str, group: tuple[int, int]) -> None:
    """Each of N nodes sends to N - 1 others; ranks are spread evenly over the nodes."""
    cluster = FABRICS[name]
    link = link_of(cluster, *group)
    rate, rings = fluid(cluster, *group, "all_to_all")
    expected = cluster.network.bandwidth_fraction * rings * rate * (float(link.num_nodes) - 1)
    assert link.network_exchange_bytes_per_s == pytest.approx(expected, rel=ROUNDING)


def tree(ratio: float, leaf: int = 3, num_nodes: int = 6, **fabric: object) -> Cluster:
    tiers = [
        {"name": "leaf", "nodes_per_group": leaf, "oversubscription": 1, "hop": "1 us"},
        {"name": "spine", "nodes_per_group": 48, "oversubscription": ratio, "hop": "2 us"},
    ]
    return load_cluster(
        {
            "extends": BASE,
            **sourced(num_nodes=num_nodes),
            "tiers": [{**tier, "source": SOURCE} for tier in tiers],
            **({"fabric": fabric} if fabric else {}),
        }
    )


@pytest.mark.parametrize("kind", ["ring", "all_to_all"])
@pytest.mark.parametrize("group", [(48, 1), (6, 8), (24, 2), (12, 4)])
@pytest.mark.parametrize("ratio", [1.0, 2.0, 4.0])
def test_tiers_leave_what_fluid_flows_get(
    ratio: float, group: tuple[int, int], kind: Literal["ring", "all_to_all"]
) -> None:
    """Of an all-to-all over six nodes in leaves of three 3/5 leave a leaf, of a ring 1/3."""
    cluster = tree(ratio)
    link = link_of(cluster, *group)
    rate, rings = fluid(cluster, *group, kind, SPRAYED)
    expected = cluster.network.bandwidth_fraction * rings * rate
    if kind == "ring":
        assert link.network_bytes_per_s == pytest.approx(expected, rel=ROUNDING)
    else:
        expected *= float(link.num_nodes) - 1
        assert link.network_exchange_bytes_per_s == pytest.approx(expected, rel=ROUNDING)


@pytest.mark.parametrize("leaf", [1, 2, 3, 4])
def test_a_leaf_never_holds_nodes_of_two_sites(leaf: int) -> None:
    """Sites of four nodes, each with leaves of its own, whether or not these divide a site."""
    far = sourced(nodes_per_site=4, bandwidth="100 Gbps", latency="5 ms")
    topology = Topology.of(tree(2.0, leaf, 8, kind="wan", **far))
    network = topology.cluster.network
    fraction = network.message_fraction or network.bandwidth_fraction
    across = topology.path(3 * 8, 4 * 8)
    assert across.latency_s > 5e-3
    # A quarter of what a site's 32 devices send goes on to the next site, over 12.5 GB/s.
    assert across.bandwidth_bytes_per_s == pytest.approx(fraction * 12.5e9 / 8)
    # The first two nodes of either site share a leaf, if it holds two.
    for first in (0, 4):
        near = topology.path(first * 8, (first + 1) * 8)
        assert near.latency_s == pytest.approx(network.message_s + (3e-6 if leaf == 1 else 1e-6))


def test_an_all_to_all_on_a_torus_fills_its_middle() -> None:
    """4 x 4 x 4 chips of TPU v4, 1 GB each: 64/4 GB cross the middle each way, over 2 x 16 links.

    Beside that only microseconds of latency; 0.9 of the links is reached.
    """
    link = link_of(load_cluster("tpu-v4-pod", num_nodes=16), 64)
    bulk_s = 64 / 4 * 1e9 / (2 * 16 * 45e9 * 0.9)
    assert float(collective_s("all_to_all", 1e9, link)) == pytest.approx(bulk_s, rel=0.02)


@pytest.mark.parametrize("shape", [(2, 2, 2), (4, 2, 2)])
@pytest.mark.parametrize("per_rack", [2, 4])
def test_pods_share_the_tiers_above_their_hosts(shape: tuple[int, ...], per_rack: int) -> None:
    tiers = [
        {"name": "rack", "nodes_per_group": per_rack, "oversubscription": 1, "hop": "1 us"},
        {"name": "top", "nodes_per_group": 64, "oversubscription": 4, "hop": "2 us"},
    ]
    pods = load_cluster(
        {
            "extends": "tpu-v4-pod",
            **sourced(num_nodes=8),
            "tiers": [{**tier, "source": SOURCE} for tier in tiers],
            "fabric": {"kind": "pods", **sourced(shape=list(shape))},
        }
    )
    per_pod = math.prod(shape)
    link = link_of(pods, 32)
    assert link.num_nodes == 32 / per_pod
    # Every chip sends 1 GB to its fellow in the next pod.
    flows = [Flow(chip, (chip + per_pod) % 32, 1e9) for chip in range(32)]
    run = run_flows(fabric_of(pods, routing=Routing(spreading="sprayed")), flows)
    expected = pods.network.bandwidth_fraction * per_pod * 1e9 / run.makespan_s
    assert link.network_bytes_per_s == pytest.approx(expected, rel=TICKS)
    assert link.network_hop_s == pytest.approx(pods.network.hop_s + 2e-6)
    # Inside a pod nothing but its torus counts.
    assert link_of(pods, per_pod).network_bytes_per_s == math.inf


def test_a_ring_over_sites_takes_as_long_as_step_by_step() -> None:
    """Four nodes at two sites, one NIC's worth between them: a ring of one rank per node.

    The seven other places do the same, so an eighth of the way out is this ring's. Of three steps
    a chunk crosses in two at most: 2 * 5 ms; step by step every step waits for the slowest hop,
    3 * 5 ms, which is the bound for who waits for answers.
    """
    cluster, payload = sites(4, 2, "400 Gbps"), 4e9
    link = link_of(cluster, 4, 8)
    got_s = float(collective_s("all_gather", payload, link))
    alone = sites(4, 2, "50 Gbps")
    ranks = 8 * np.arange(4)
    run = ring_steps(fabric_of(alone), ranks, payload / 4, 3)
    fraction = cluster.network.bandwidth_fraction
    transfer_s = 3 * payload / 4 / (6.25e9 * fraction)
    assert run.makespan_s == pytest.approx(3 * (payload / 4 / 6.25e9 + 5e-3), rel=TICKS)
    assert got_s == pytest.approx(transfer_s + 2 * 5e-3, rel=TICKS)


def test_latency_of_a_ring_between_two_sites() -> None:
    """Of 16 nodes two hops are far: 15 steps take 2 * 5 ms together. A tree: two up, two down."""
    link = link_of(sites(16, 8), 128)
    assert link.network_ring_way_s == pytest.approx(2 * 5e-3 / 15)
    assert (link.network_way_s, link.network_ways) == (5e-3, 2)
    # One node per site: every hop is far, and every level of the tree.
    link = link_of(sites(4, 1), 32)
    assert link.network_ring_way_s == pytest.approx(5e-3)
    assert (link.network_way_s, link.network_ways) == (5e-3, 2)


def test_a_graph_adds_what_its_ways_have_more_than_the_lowest_tier() -> None:
    """Dumbbell: 2 links of 1 us within a side, a third of 1 ms across; the curve holds 0.5 us."""
    link = link_of(graph(6, DUMBBELL), 48)
    near_s, far_s = 1.5e-6, 1001.5e-6
    assert link.network_ring_way_s == pytest.approx((3 * near_s + 2 * far_s) / 5)
    assert link.network_way_s == pytest.approx(far_s)
    assert link.network_ways == 2


def test_equal_ways_of_a_graph_are_shared_evenly() -> None:
    """Two leaves of two nodes: one hop of a ring, 400 GB/s of NICs, goes up from a leaf, over one
    link of 100 GB/s, or two."""
    links = [[f"node{i}", f"leaf{i // 2}", "3200 Gbps", "1 us"] for i in range(4)]
    one = graph(4, [*links, *([f"leaf{leaf}", "a", "800 Gbps", "1 us"] for leaf in range(2))])
    two = graph(
        4,
        [*links, *([f"leaf{leaf}", top, "800 Gbps", "1 us"] for leaf in range(2) for top in "ab")],
    )
    fraction = one.network.bandwidth_fraction
    assert link_of(one, 32).network_bytes_per_s == pytest.approx(fraction * 100e9)
    assert link_of(two, 32).network_bytes_per_s == pytest.approx(fraction * 200e9)


def test_paths_over_graphs_and_between_sites() -> None:
    """All nodes send three nodes on: three of 400 GB/s on one link of 50 GB/s, of which 1/24."""
    for cluster in (graph(6, DUMBBELL), sites(6, 3, "400 Gbps", "1 ms")):
        path = Topology.of(cluster).path(0, 24)
        fraction = cluster.network.message_fraction or cluster.network.bandwidth_fraction
        assert path.bandwidth_bytes_per_s == pytest.approx(fraction * 50e9 / 24)
        assert float(path.latency_s) == pytest.approx(cluster.network.message_s + 1e-3, abs=4e-6)
        near = Topology.of(cluster).path(0, 8)
        assert near.bandwidth_bytes_per_s == pytest.approx(fraction * 50e9)


def test_nodes_that_a_graph_leaves_out_are_named() -> None:
    with pytest.raises(SpecError, match="no way from 'node0' to 'node3'"):
        graph(4, LINE[:2])
    with pytest.raises(SpecError, match="no way from 'node0' to 'node2'"):
        graph(4, [LINE[0], LINE[2]])


# --- laws


@pytest.mark.parametrize("group", GROUPS)
def test_sites_joined_as_by_a_tier_are_a_plain_cluster(group: tuple[int, int]) -> None:
    """A way out of 2 of 3 nodes' NICs is a tier of 1.5 : 1 above blocks of three."""
    tiers = [
        {"name": "site", "nodes_per_group": 3, "oversubscription": 1, "hop": "0 us"},
        {"name": "between", "nodes_per_group": 6, "oversubscription": 1.5, "hop": "0 us"},
    ]
    plain = load_cluster(
        {
            "extends": BASE,
            **sourced(num_nodes=6),
            "tiers": [{**tier, "source": SOURCE} for tier in tiers],
        }
    )
    joined = sites(6, 3, "6400 Gbps", "0 s")
    ours, theirs = (link_of(one, *group) for one in (joined, plain))
    # Tiers see the first group alone, not the one that straddles two blocks where others do not.
    assert ours.network_bytes_per_s == pytest.approx(theirs.network_bytes_per_s, rel=ROUNDING)
    assert ours.network_ring_way_s == 0


@given(
    group=st.sampled_from(GROUPS),
    per_site=st.integers(1, 5),
    gbps=st.tuples(st.integers(1, 10_000), st.integers(1, 10_000)),
    kind=st.sampled_from(["all_reduce", "all_gather", "all_to_all"]),
    payload=st.floats(1e3, 1e11),
)
@settings(deadline=None)
def test_wider_links_between_sites_make_nothing_longer(
    group: tuple[int, int],
    per_site: int,
    gbps: tuple[int, int],
    kind: Literal["all_reduce", "all_gather", "all_to_all"],
    payload: float,
) -> None:
    narrow, wide = (
        collective_s(kind, payload, link_of(sites(6, per_site, f"{rate} Gbps"), *group))
        for rate in sorted(gbps)
    )
    assert wide <= narrow


@given(
    group=st.sampled_from(GROUPS),
    rates=st.lists(st.integers(1, 10_000), min_size=7, max_size=7),
    which=st.integers(0, 6),
    kind=st.sampled_from(["all_reduce", "all_gather", "all_to_all"]),
)
@settings(deadline=None)
def test_a_wider_link_of_a_graph_makes_nothing_longer(
    group: tuple[int, int],
    rates: list[int],
    which: int,
    kind: Literal["all_reduce", "all_gather", "all_to_all"],
) -> None:
    wider = [*rates[:which], 2 * rates[which], *rates[which + 1 :]]
    before, after = (
        collective_s(
            kind,
            1e9,
            link_of(
                graph(
                    6,
                    [
                        [*ends[:2], f"{rate} Gbps", ends[3]]
                        for ends, rate in zip(DUMBBELL, given_, strict=True)
                    ],
                ),
                *group,
            ),
        )
        for given_ in (rates, wider)
    )
    assert after <= before


def job(cluster: str, *changes: str) -> Scenario:
    return load_scenario(
        "llama2-7b-fsdp",
        [
            f"cluster={cluster}",
            "training.global_batch_size=64",
            "plan.sharding=ddp",
            "plan.shard_group_size=null",
            "plan.tp=8",
            "plan.dp=null",
            *changes,
        ],
    )


def test_a_step_waits_for_the_link_between_sites() -> None:
    """Eight nodes at two sites: gradients of 6.7 G parameters over 100 Gb/s, in both directions."""

    def step_s(fabric: str) -> float:
        cluster = f"{{extends: {BASE}, num_nodes: {{value: 8, source: test}}{fabric}}}"
        return simulate(job(cluster, "plan.overlap={dp: false}"), levers=False).step_time_s

    def apart(rate: str, late: str) -> str:
        facts = {"nodes_per_site": "4", "bandwidth": rate, "latency": late}
        keys = ", ".join(f"{key}: {{value: {value}, source: t}}" for key, value in facts.items())
        return f", fabric: {{kind: wan, {keys}}}"

    whole_s, wide_s = step_s(""), step_s(apart("100 TB/s", "0 s"))
    narrow_s, late_s = step_s(apart("100 Gbps", "0 s")), step_s(apart("100 TB/s", "50 ms"))
    assert wide_s == whole_s
    # Gradients of 2 bytes, 2 * 7 / 8 of them through 12.5 instead of 400 GB/s; a tree would have
    # other microseconds.
    reduction_s = 2 * 7 / 8 * 2 * 6.738e9 * (1 / 12.5e9 - 1 / 400e9) / 0.92
    assert narrow_s - whole_s == pytest.approx(reduction_s, rel=2e-3)
    # There and back twice: a reduction and a gathering of what was reduced.
    assert late_s - whole_s == pytest.approx(4 * 50e-3, rel=1e-6)


def test_what_step_times_follow_needs_no_note() -> None:
    wan = sourced(nodes_per_site=2, bandwidth="1 GB/s", latency="9 ms")
    for cluster in (
        *FABRICS.values(),
        wired(4, kind="rail_fat_tree", source=SOURCE),
        wired(4, base="tpu-v4-pod", kind="pods", **sourced(shape=[2, 2, 2])),
        load_cluster("frontier"),
        load_cluster("tpu-v4-pod"),
    ):
        assert not [note for note in cluster.assumptions if note.name == "fabric"]
    (note,) = [
        note
        for note in wired(4, base="tpu-v4-pod", kind="wan", **wan).assumptions
        if note.name == "fabric"
    ]
    assert "not in step times" in note.value
