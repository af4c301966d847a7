"""Every device and link for itself: equal to folded ranks where nobody meets anybody."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.api import load_scenario
from simulator.errors import PlanError
from simulator.fabric.cluster import Routing, network_of
from simulator.numeric import FloatArray, IntArray
from simulator.scenario import Scenario
from simulator.simulate import run_step, simulate
from simulator.step import build_step
from simulator.unfolded import build_unfolded, kept_at_price
from simulator.wiring import GraphWiring, WanWiring
from simulator.workload.move_prices import moves_s

ROUNDING = 1e-9
EXPERTS = ("model={preset: llama-7b, num_experts: 16, top_k: 2}",)


@dataclass
class Star:
    """All NICs on one core, whose links for all are ``core_links`` NICs wide, 0 for wide enough."""

    devices: int
    nic_bytes_per_s: float
    core_links: float = 0.0

    @property
    def capacity_bytes_per_s(self) -> FloatArray:
        core = [self.core_links * self.nic_bytes_per_s] if self.core_links else []
        return np.array([self.nic_bytes_per_s] * (2 * self.devices) + core)

    def routes(self, source: IntArray, target: IntArray, key: IntArray) -> IntArray:
        assert key.shape == source.shape
        core = np.full(source.shape, 2 * self.devices if self.core_links else -1)
        return np.stack((source, core, self.devices + target), axis=-1)


def _scenario(nodes: int, *settings_: str) -> Scenario:
    return load_scenario(
        "gpt3-175b-a100-64",
        [
            "model={preset: llama-7b}",
            f"cluster={{preset: selene, nodes: {nodes}}}",
            "stack={preset: ideal}",
            "training.global_batch_size=64",
            "training.seq_length=2048",
            "plan.dp=null",
            "plan.virtual_stages=1",
            "plan.schedule=1f1b",
            *settings_,
        ],
    )


def _nic(scenario: Scenario) -> float:
    node = scenario.cluster.node
    return node.num_nics * node.nic_bytes_per_s / node.num_devices


def _folded_s(scenario: Scenario) -> float:
    return run_step(build_step(scenario))[0].makespan_s


def _unfolded_s(scenario: Scenario, core_links: float = 0.0, *, nic_factor: float = 1.0) -> float:
    star = Star(scenario.plan.num_devices, nic_factor * _nic(scenario), core_links)
    return run_step(build_unfolded(scenario, star).step)[0].makespan_s


@given(
    tp=st.sampled_from([1, 2, 8]),
    pp=st.sampled_from([1, 2, 4]),
    sharding=st.sampled_from(["ddp", "zero1", "zero2", "zero3"]),
    overlap=st.booleans(),
)
@settings(deadline=None, max_examples=15)
def test_equal_to_folded_ranks_where_the_fabric_is_wide_enough(
    tp: int, pp: int, sharding: str, overlap: bool
) -> None:
    scenario = _scenario(
        4,
        f"plan.tp={tp}",
        f"plan.pp={pp}",
        f"plan.sharding={sharding}",
        f"plan.overlap={{dp: {str(overlap).lower()}, pp: {str(overlap).lower()}}}",
    )
    folded_s, unfolded_s = _folded_s(scenario), _unfolded_s(scenario)
    if overlap and pp > 1:
        # Folded, a send meets the collectives of its sender; unfolded, also those of its receiver.
        assert folded_s * (1 - ROUNDING) <= unfolded_s <= folded_s * 1.01
    else:
        assert unfolded_s == pytest.approx(folded_s, rel=ROUNDING)


def test_a_core_of_half_the_bandwidth_doubles_the_collectives() -> None:
    # Two nodes of 8: 16 hops cross the core at the rate of a NIC; half of that is 8 NICs.
    scenario = _scenario(
        2, "plan.tp=1", "plan.pp=1", "plan.sharding=ddp", "plan.overlap={dp: false}"
    )
    alone_s, halved_s = _unfolded_s(scenario, 16), _unfolded_s(scenario, 8)
    step = build_step(scenario)
    (reduced,) = np.flatnonzero(step.graph.coupled & (step.durations_s() > 0))
    assert alone_s == pytest.approx(_folded_s(scenario), rel=ROUNDING)
    assert halved_s - alone_s == pytest.approx(step.durations_s()[reduced], rel=1e-6)


def test_a_slow_peer_holds_up_its_replica_and_all_others() -> None:
    scenario = _scenario(2, "plan.tp=8", "plan.pp=1")
    slow = replace(scenario, stragglers=((3, 0.5),))
    assert _unfolded_s(slow) == pytest.approx(_folded_s(slow), rel=ROUNDING)
    assert _unfolded_s(slow) > 1.2 * _unfolded_s(scenario)


def test_ops_grow_with_devices_and_links_only_where_they_fill() -> None:
    scenario = _scenario(2, "plan.tp=8", "plan.pp=1")
    wide = build_unfolded(scenario, Star(16, _nic(scenario))).step.graph
    assert len(wide.streams) >= 16
    assert not wide.resources
    narrow = build_unfolded(scenario, Star(16, _nic(scenario), 8)).step.graph
    assert len(narrow.resources) == 1
    # The rings of the eight tensor-parallel ranks load it alike: they are one flow.
    assert len(narrow.flows) == 1


def test_what_is_not_modelled_link_by_link_is_refused() -> None:
    scenario = _scenario(2, "plan.tp=1", "plan.pp=1", "plan.offload={optimizer: host}")
    with pytest.raises(PlanError) as raised:
        build_unfolded(scenario, Star(16, 1e10))
    assert raised.value.where == "plan.offload"


@pytest.mark.parametrize(
    "how",
    [
        ("plan.sharding=zero++",),
        ("plan.sharding=zero3", "plan.shard_group_size=8"),
        ("plan.sharding=zero3", "plan.shard_group_size=16"),
        ("plan.sharding=zero1", "plan.shard_group_size=8", "plan.overlap={dp: true}"),
        ("plan.sharding=zero3", "plan.tp=16"),
        ("plan.sharding=zero2", "plan.tp=16", "plan.sequence_parallel=true"),
        ("plan.sharding=zero1", "plan.tp=16", "plan.pp=2", "plan.schedule=zb-h1"),
        ("plan.sharding=zero1", *EXPERTS, "plan.ep=8"),
        ("plan.sharding=zero3", *EXPERTS, "plan.ep=16"),
        ("plan.sharding=zero1", *EXPERTS, "plan.ep=16", "plan.pp=2", "plan.overlap={pp: false}"),
        ("plan.sharding=zero1", *EXPERTS, "plan.ep=8", "plan.tp=2", "plan.etp=1"),
        ("plan.sharding=zero1", *EXPERTS, "plan.ep=2", "plan.tp=16"),
    ],
)
def test_collectives_of_all_kinds_are_as_folded_where_nobody_meets(how: tuple[str, ...]) -> None:
    """Ports are wide, too: a rank's collectives of several axes meet there, not in folded ranks."""
    scenario = _scenario(4, "plan.tp=1", "plan.pp=1", *how)
    unfolded_s = _unfolded_s(scenario, nic_factor=1e3)
    assert unfolded_s == pytest.approx(_folded_s(scenario), rel=ROUNDING)


def test_of_a_reduction_in_levels_only_what_leaves_the_node_is_slowed() -> None:
    """Shards within nodes of 8: gradients are scattered there, then summed in 8 rings of 2 nodes.

    16 hops over a core as wide as 2: the sum takes 8 times as long, what stays inside does not.
    """
    how = ("plan.sharding=zero1", "plan.shard_group_size=8", "plan.overlap={dp: false}")
    scenario = _scenario(2, "plan.tp=1", "plan.pp=1", *how)
    costs = build_step(scenario).costs
    within, across = next(moves for moves in costs.moves.values() if len(moves) == 2)
    assert (within.link.num_nodes, across.link.num_nodes) == (1, 2)
    sum_s = float(moves_s((across,), costs.pricer.context))
    longer_s = _unfolded_s(scenario, 2) - _unfolded_s(scenario, 16)
    assert longer_s == pytest.approx(7 * sum_s, rel=1e-6)


def test_tensor_parallel_messages_are_slowed_by_what_they_meet() -> None:
    """Two nodes of 8 NICs over a core as wide as 2: 16 hops at once take 8 times as long.

    A microbatch has 4 collectives of 2048 * 4096 numbers of 2 bytes in each of 32 forwards of a
    layer and 2 for the vocabulary, half as many in backwards: 195. A ring over 16 ranks moves 15/16
    of them over each hop in 8 rings, at 0.94 * 25 GB/s: 195 * 15 / 16 * 16,777,216 B / 8 / 23.5
    GB/s = 16.31 ms, of which 64 microbatches wait for 7 times more. Start-ups do not grow.
    """
    how = ("plan.pp=1", "plan.tp=16", "plan.dp=1", "plan.overlap={dp: false, tp: false}")
    scenario = _scenario(2, *how)
    alone_s, narrow_s = _unfolded_s(scenario, 16), _unfolded_s(scenario, 2)
    assert alone_s == pytest.approx(_folded_s(scenario), rel=ROUNDING)
    # The three sums over the vocabulary are small beside them.
    assert narrow_s - alone_s == pytest.approx(7 * 64 * 16.31e-3, rel=1e-3)


def test_all_to_alls_of_experts_are_slowed_by_what_they_meet() -> None:
    how = (*EXPERTS, "plan.pp=1", "plan.tp=8", "plan.ep=2", "plan.dp=2")
    scenario = _scenario(2, "plan.overlap={dp: false, tp: false}", *how)
    time = simulate(scenario, levers=False).time
    alone_s, narrow_s = _unfolded_s(scenario, 16), _unfolded_s(scenario, 2)
    assert alone_s == pytest.approx(_folded_s(scenario), rel=ROUNDING)
    # A reduction over the replicas ends the step: it takes up to 8 times as long, too.
    assert 7 * time["dp_comm"] < narrow_s - alone_s
    assert narrow_s - alone_s <= 7 * (time["ep_comm"] + time["dp_comm"]) * (1 + ROUNDING)


@given(
    tp=st.sampled_from([8, 16]),
    ep=st.sampled_from([1, 2]),
    widths=st.lists(st.sampled_from([1, 2, 4, 8, 16, 64]), min_size=2, max_size=4, unique=True),
)
@settings(deadline=None, max_examples=10)
def test_a_wider_core_is_never_slower(tp: int, ep: int, widths: list[int]) -> None:
    scenario = _scenario(4, f"plan.tp={tp}", "plan.pp=1", *EXPERTS, f"plan.ep={ep}")
    times_s = [_unfolded_s(scenario, width) for width in sorted(widths)]
    assert all(wide <= narrow * (1 + ROUNDING) for narrow, wide in pairwise(times_s))


def test_tensor_parallelism_between_nodes_shares_links_as_run_counts() -> None:
    """All its hops cross the narrow tier: what it takes from them is the same in both."""
    cluster = (
        "cluster={extends: dgx-h100-superpod, num_nodes: {value: 4, source: test}, tiers: ["
        "{name: leaf, nodes_per_group: 1, oversubscription: 1, hop: 0.5 us, source: test}, "
        "{name: spine, nodes_per_group: 4, oversubscription: 8, hop: 0.5 us, source: test}]}"
    )
    for overlap in ("true", "false"):
        how = f"plan.overlap={{pp: false, tp: {overlap}}}"
        scenario = _scenario(4, cluster, "plan.tp=16", "plan.pp=2", how)
        unfolded = build_unfolded(scenario, network_of(scenario.cluster, Routing()))
        # On full links a ring is bound by its node, 1/10 slower than the NICs: that stays here, and
        # is hidden behind the narrow tier in 'run'.
        unfolded_s = run_step(unfolded.step)[0].makespan_s
        assert unfolded_s == pytest.approx(_folded_s(scenario), rel=0.02)


def test_latency_that_is_left_out_between_sites_is_told() -> None:
    """1,024 devices are 128 nodes: two sites of 64, and one of 128."""
    scenario = load_scenario("llama-7b-1024")

    def kept(fabric: WanWiring | GraphWiring) -> tuple[str, ...]:
        return kept_at_price(replace(scenario, cluster=replace(scenario.cluster, fabric=fabric)))

    assert "latency between sites" in kept(WanWiring(64, 1e12, 5e-3))
    assert kept(WanWiring(128, 1e12, 5e-3)) == kept(WanWiring(64, 1e12, 0.0)) == ()
    links = tuple((f"node{i}", "hub", 1e12, 1e-3) for i in range(scenario.cluster.num_nodes))
    assert kept(GraphWiring(links)) == ("latency of the links of the graph",)
