"""Which algorithms a collective library chooses among: in a cluster's file and in a scenario."""

import pytest

from simulator.cost.collective import ALGORITHMS
from simulator.errors import SpecError, UnknownNameError
from simulator.machine import USUAL_ALGORITHMS
from simulator.plan import ProcessGroup
from simulator.simulate import simulate
from simulator.spec.hardware import load_cluster
from simulator.spec.load import load_scenario
from simulator.spec.yaml_file import list_data
from simulator.topology import Topology

SCENARIO = "gpt3-175b-a100-64"


def loaded(*overrides):
    return load_scenario(SCENARIO, overrides)


def test_every_shipped_cluster_has_the_usual_ones():
    # PAT, SHARP and others are not in the libraries that were measured
    for name in list_data("clusters"):
        assert load_cluster(name).collective_algorithms == USUAL_ALGORITHMS


@pytest.mark.parametrize("value", ["ring", "[ring]"])
def test_a_scenario_forces_one(value):
    scenario = loaded(f"cluster.collective_algorithms={value}")
    assert scenario.cluster.collective_algorithms == ("ring",)
    link = Topology.of(scenario.cluster).group_link(ProcessGroup("dp", 64, 1))
    assert link.algorithms == ("ring",)
    assert "collective_algorithms" in scenario.normalised["cluster"]


def test_a_cluster_file_names_them():
    cluster = load_cluster(
        {"extends": "dgx-h100-superpod", "collective_algorithms": ["ring", "pat"]}, num_nodes=2
    )
    assert cluster.collective_algorithms == ("ring", "pat")


def test_left_out_nothing_is_echoed():
    assert "collective_algorithms" not in loaded().normalised["cluster"]


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ("[rings]", UnknownNameError, "unknown collective algorithm 'rings'"),
        ("[]", SpecError, "is no choice of algorithms"),
        ("[ring, ring]", SpecError, "is no choice of algorithms"),
        ("3", SpecError, "not a list"),
    ],
)
def test_wrong_choices_are_refused(value, error, words):
    with pytest.raises(error, match=words) as caught:
        loaded(f"cluster.collective_algorithms={value}")
    assert "collective_algorithms" in caught.value.where


WITH = "preset: v100-4-pcie-tcp-cluster, nodes: 2, collective_algorithms"


def test_switches_that_add_are_said_with_a_source():
    assert load_cluster("dgx-h100-superpod").switches_reduce
    assert not load_cluster("v100-4-pcie-tcp-cluster").switches_reduce
    own = {"extends": "v100-4-pcie-tcp-cluster", "collective_algorithms": ["ring", "collnet"]}
    with pytest.raises(SpecError, match="nothing says that those of cluster 'cluster' can"):
        load_cluster(own)
    added = load_cluster({**own, "switches_reduce": {"value": True, "source": "test"}})
    assert added.collective_algorithms == ("ring", "collnet")


@pytest.mark.parametrize("value", ["collnet", "[ring, collnet]"])
def test_a_scenario_cannot_have_what_switches_do_not(value):
    with pytest.raises(SpecError, match="'collnet' adds inside the switches") as caught:
        load_scenario("gpt2-xl-one-gpu", [f"cluster={{{WITH}: {value}}}"])
    assert "collective_algorithms" in caught.value.where
    assert "switches_reduce" in caught.value.hint


def test_unknown_names_list_the_known():
    with pytest.raises(UnknownNameError) as caught:
        loaded("cluster.collective_algorithms=[qqqqqq]")
    for name in ALGORITHMS:
        assert name in caught.value.hint


def test_a_step_follows_the_choice():
    # 64 replicas on 8 nodes reduce their gradients between them once a step
    job = ("plan.tp=1", "plan.pp=1", "plan.dp=64", "model.num_layers=2")
    job = (*job, "plan.sequence_parallel=false", "plan.virtual_stages=1", "plan.schedule=1f1b")
    job = (*job, "plan.overlap.dp=false", "training.global_batch_size=64")

    def step_s(choice):
        return simulate(loaded(*job, f"cluster.collective_algorithms=[{choice}]")).step_time_s

    usual = step_s(", ".join(USUAL_ALGORITHMS))
    assert usual == simulate(loaded(*job)).step_time_s
    assert step_s("ring") >= usual
    # switches that add halve what the NICs carry; nothing runs in one node, so rings do it there
    assert step_s("ring, collnet") < usual
