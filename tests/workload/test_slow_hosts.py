"""Slow hosts: how many a job has, where they are, and what they cost."""

from dataclasses import replace

import pytest

from simulator.api import load_scenario, simulate
from simulator.machine import Cluster, SlowHosts
from simulator.spec.hardware import load_cluster
from simulator.workload.op import OpPhase
from simulator.workload.slow_hosts import forward_speeds, slow_host_ids

SMALL = [
    "plan.pp=1",
    "plan.dp=8",
    "plan.virtual_stages=1",
    "plan.schedule=1f1b",
    "model.num_layers=8",
]


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return replace(load_cluster("selene", num_nodes=200), slow_hosts=SlowHosts(0.01, 1.25))


def test_as_many_as_expected_are_spread_over_the_hosts(cluster: Cluster) -> None:
    # 200 hosts: 2 of them, at frac(0.618) = 0.618 and frac(1.236) = 0.236 of 200.
    assert slow_host_ids(cluster, 1600) == (123, 47)
    assert slow_host_ids(cluster, 8 * 149) == (92,)  # 1.49 -> 1, at 0.618 * 149 = 92.1
    assert slow_host_ids(cluster, 8 * 49) == ()  # 0.49 -> 0


def test_all_ranks_of_a_slow_host_are_slow_in_forwards(cluster: Cluster) -> None:
    speeds = forward_speeds(cluster, 8 * 60)  # 0.6 -> 1, host 37
    assert speeds == dict.fromkeys(range(37 * 8, 38 * 8), 0.8)


def test_a_host_that_is_not_full_has_fewer_ranks() -> None:
    one = replace(load_cluster("selene", num_nodes=1), slow_hosts=SlowHosts(1.0, 2.0))
    assert forward_speeds(one, 3) == {0: 0.5, 1: 0.5, 2: 0.5}


def test_no_slow_hosts_without_a_report_of_them() -> None:
    cluster = load_cluster("selene", num_nodes=200)
    assert slow_host_ids(cluster, 1600) == ()
    assert forward_speeds(cluster, 1600) == {}


def test_a_step_waits_for_the_forwards_of_a_slow_host() -> None:
    """With one stage nothing hides them: the step grows by a quarter of its forwards."""
    scenario = load_scenario("gpt3-175b-a100-64", SMALL)
    slow = replace(scenario.cluster, slow_hosts=SlowHosts(0.125, 1.25))  # 1 of 8 hosts
    plain = simulate(scenario, levers=False)
    waiting = simulate(replace(scenario, cluster=slow), levers=False)
    timeline = plain.timeline
    assert timeline is not None
    forward = timeline.graph.phase == OpPhase.F
    seconds = (timeline.end_s - timeline.start_s)[forward].sum()
    exposed_s = plain.time["tp_comm"]  # at most: does not scale
    added_s = waiting.step_time_s - plain.step_time_s
    assert 0.25 * (seconds - exposed_s) <= added_s <= 0.25 * seconds
    assert sum(waiting.time.values()) == pytest.approx(waiting.step_time_s)
    assert waiting.time["bubble"] == pytest.approx(plain.time["bubble"], abs=1e-3)
    assert [note.value for note in waiting.assumptions if note.name == "slow hosts"] == [
        "1 of the hosts, spread over all, take 1.25 times as long for a forward"
    ]


def test_megascales_cluster_has_what_its_authors_report() -> None:
    cluster = load_cluster("clos-a100-12288")
    assert cluster.slow_hosts == SlowHosts(0.005, 1.1)
    assert len(slow_host_ids(cluster, 12288)) == 8  # 1536 hosts * 0.005 = 7.7
