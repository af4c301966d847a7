"""Every device and link for itself: equal to folded ranks where nobody meets anybody."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.api import load_scenario
from simulator.errors import PlanError
from simulator.numeric import FloatArray, IntArray
from simulator.scenario import Scenario
from simulator.simulate import run_step
from simulator.step import build_step
from simulator.unfolded import build_unfolded

ROUNDING = 1e-9


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


def _unfolded_s(scenario: Scenario, core_links: float = 0.0) -> float:
    star = Star(scenario.plan.num_devices, _nic(scenario), core_links)
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


@pytest.mark.parametrize(
    ("setting", "where"),
    [
        ("plan.offload={optimizer: host}", "plan.offload"),
        ("plan.sharding=zero++", "plan.sharding"),
    ],
)
def test_what_is_not_modelled_link_by_link_is_refused(setting: str, where: str) -> None:
    scenario = _scenario(2, "plan.tp=1", "plan.pp=1", "plan.sharding=zero3", setting)
    with pytest.raises(PlanError) as raised:
        build_unfolded(scenario, Star(16, 1e10))
    assert raised.value.where == where


def test_tensor_parallelism_between_nodes_keeps_the_price_of_run() -> None:
    """Its messages are part of passes: what a narrow tier takes from them is in both."""
    cluster = (
        "cluster={extends: dgx-h100-superpod, num_nodes: {value: 4, source: test}, tiers: ["
        "{name: leaf, nodes_per_group: 1, oversubscription: 1, hop: 0.5 us, source: test}, "
        "{name: spine, nodes_per_group: 4, oversubscription: 8, hop: 0.5 us, source: test}]}"
    )
    scenario = _scenario(4, cluster, "plan.tp=16", "plan.pp=2", "plan.overlap={pp: false}")
    assert _unfolded_s(scenario) == pytest.approx(_folded_s(scenario), rel=ROUNDING)
