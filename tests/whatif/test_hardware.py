"""Levers: what each of them changes, and that better never is slower."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.host_share import host_share
from simulator.machine import Torus
from simulator.scenario import Scenario
from simulator.simulate import simulate
from simulator.spec.hardware import load_cluster
from simulator.spec.load import load_scenario
from simulator.whatif.hardware import HARDWARE, OF_THE_HOST, levers_of
from tests.strategies import scenarios

SELENE = load_scenario("gpt3-175b-a100-64")
FRONTIER = load_scenario("frontier-175b")
ON_TORUS = load_scenario("palm-540b")


@pytest.mark.parametrize("name", HARDWARE)
@pytest.mark.parametrize("scenario", [SELENE, FRONTIER, ON_TORUS], ids=lambda s: s.name)
def test_a_factor_of_one_changes_nothing(name: str, scenario: Scenario) -> None:
    assert HARDWARE[name].pull(scenario, 1.0) == scenario


@pytest.mark.parametrize("name", HARDWARE)
def test_factors_multiply(name: str) -> None:
    pull = HARDWARE[name].pull
    assert pull(pull(SELENE, 4.0), 2.0) == pull(SELENE, 8.0)


def test_what_the_levers_change() -> None:
    device = SELENE.cluster.node.accelerator
    node, network = SELENE.cluster.node, SELENE.cluster.network

    def pulled(name: str) -> Scenario:
        return HARDWARE[name].pull(SELENE, 2.0)

    faster = pulled("peak_flops").cluster.node.accelerator
    assert faster.peak_flops_per_s["bf16"] == 2 * device.peak_flops_per_s["bf16"]
    twice = pulled("memory_bandwidth").cluster.node.accelerator.memory_bandwidth_bytes_per_s
    assert twice == 2 * device.memory_bandwidth_bytes_per_s
    assert pulled("memory_size").cluster.node.accelerator.memory_bytes == 2 * device.memory_bytes
    wide = pulled("nic_bandwidth").cluster
    assert wide.node.nic_bytes_per_s == 2 * node.nic_bytes_per_s
    assert wide.network.chunk_s == network.chunk_s / 2
    assert pulled("network_latency").cluster.network.ring_hop_s == 2 * network.ring_hop_s
    links = pulled("node_bandwidth").cluster.node.collectives
    assert links.ring_bytes_per_s[8] == 2 * node.collectives.ring_bytes_per_s[8]
    late = pulled("node_latency").cluster.node.collectives
    assert late.simple.base_s == 2 * node.collectives.simple.base_s
    assert pulled("host_overhead").stack.layer_overhead_s == 2 * SELENE.stack.layer_overhead_s
    assert (
        pulled("kernel_launch").cluster.node.accelerator.gemm.launch_s == 2 * device.gemm.launch_s
    )


def test_a_handshake_is_latency() -> None:
    efa = replace(SELENE, cluster=load_cluster("aws-p5-cluster", num_nodes=128))
    late = HARDWARE["network_latency"].pull(efa, 2.0).cluster.network
    assert late.handshake_s == 2 * efa.cluster.network.handshake_s
    assert late.eager_s_per_byte == efa.cluster.network.eager_s_per_byte


def test_links_of_the_host_belong_to_the_nics_and_others_to_the_node() -> None:
    def rates(scenario: Scenario) -> dict[tuple[str, str], float]:
        return {(e.a, e.b): e.bandwidth_bytes_per_s for e in scenario.cluster.node.edges}

    before = rates(SELENE)
    node = rates(HARDWARE["node_bandwidth"].pull(SELENE, 2.0))
    nics = rates(HARDWARE["nic_bandwidth"].pull(SELENE, 2.0))
    for ends, rate in before.items():
        scale_up = not any(part.startswith(("nic", "pcie", "cpu")) for part in ends)
        assert node[ends] == (2 * rate if scale_up else rate)
        assert nics[ends] == (rate if scale_up else 2 * rate)
    assert node != before


def test_devices_without_links_of_their_own_use_the_host() -> None:
    pcie = load_scenario("gpt2-xl-one-gpu", ["cluster={preset: pcie-8xrtx3090-cluster, nodes: 1}"])
    faster = HARDWARE["node_bandwidth"].pull(pcie, 2.0)
    pairs = zip(pcie.cluster.node.edges, faster.cluster.node.edges, strict=True)
    assert all(b.bandwidth_bytes_per_s == 2 * a.bandwidth_bytes_per_s for a, b in pairs)


def test_a_torus_is_the_link_inside_a_node() -> None:
    torus = ON_TORUS.cluster.torus
    assert isinstance(torus, Torus)
    wide = HARDWARE["node_bandwidth"].pull(ON_TORUS, 2.0).cluster.torus
    assert wide == replace(torus, link_bytes_per_s=2 * torus.link_bytes_per_s)
    late = HARDWARE["node_latency"].pull(ON_TORUS, 2.0).cluster.torus
    assert late == replace(torus, hop_s=2 * torus.hop_s)


def test_a_tier_has_no_more_uplinks_than_downlinks() -> None:
    wide = load_scenario("frontier-1t")
    half = HARDWARE["oversubscription"].pull(wide, 0.5).cluster.tiers
    # 1 and 1.75 are halved to 1 and 1
    assert [tier.oversubscription for tier in wide.cluster.tiers] == [1.0, 1.75]
    assert [tier.oversubscription for tier in half] == [1.0, 1.0]


@settings(max_examples=30)
@given(scenarios(max_ranks=16), st.sampled_from(sorted(HARDWARE)), st.sampled_from([1.5, 2.0, 8.0]))
def test_better_is_never_slower(scenario: Scenario, name: str, factor: float) -> None:
    """Max-plus solves without contention, where times are monotone in every duration."""
    lever = HARDWARE[name]
    better = lever.pull(scenario, factor if lever.larger_is_better else 1 / factor)
    base = simulate(scenario, levers=False, engine="maxplus").step_time_s
    assert simulate(better, levers=False, engine="maxplus").step_time_s <= base * (1 + 1e-12)


def test_levers_of_the_host_move_what_lives_there_and_are_left_out_elsewhere() -> None:
    away = load_scenario("zero-offload-13b")
    assert set(levers_of(away)) == set(HARDWARE)
    assert set(HARDWARE) - set(levers_of(SELENE)) == set(OF_THE_HOST)
    before = host_share(away.cluster.node, 16)
    link = host_share(HARDWARE["host_link"].pull(away, 2.0).cluster.node, 16)
    assert link.tree_bytes_per_s == 2 * before.tree_bytes_per_s
    memory = host_share(HARDWARE["host_memory_bandwidth"].pull(away, 2.0).cluster.node, 16)
    assert memory.memory_bytes_per_s == 2 * before.memory_bytes_per_s
    assert memory.adam_parameters_per_s == 2 * before.adam_parameters_per_s
    nvme = host_share(HARDWARE["nvme_bandwidth"].pull(away, 0.5).cluster.node, 16)
    assert nvme.nvme_read_bytes_per_s == 0.5 * before.nvme_read_bytes_per_s
