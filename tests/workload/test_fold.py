from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.plan import ParallelismPlan
from simulator.schedule.action import looping_placement
from simulator.sharding import SHARDING
from simulator.spec.hardware import load_cluster
from simulator.topology import Topology
from simulator.workload.fold import fold_replicas, rank_speeds, replica_paths

PLAN = ParallelismPlan(
    tp=2,
    pp=2,
    dp=4,
    cp=1,
    virtual_stages=1,
    schedule="1f1b",
    sharding=SHARDING["ddp"],
    sequence_parallel=False,
)


@pytest.fixture(scope="module")
def topology() -> Topology:
    return Topology.of(load_cluster("selene", num_nodes=2))


def test_alike_replicas_fold_into_one(topology: Topology) -> None:
    (only,) = fold_replicas(PLAN, topology, looping_placement(2, 1), {})
    assert (only.replica, only.multiplicity, only.speeds) == (0, 4, (1.0, 1.0))


def test_a_straggler_unfolds_its_replica(topology: Topology) -> None:
    # tp 2, dp 4: rank = tp + 2 dp + 8 pp, so rank 13 = (tp 1, dp 2, pp 1)
    classes = fold_replicas(PLAN, topology, looping_placement(2, 1), {13: 0.9})
    assert [(c.replica, c.multiplicity, c.speeds) for c in classes] == [
        (0, 3, (1.0, 1.0)),
        (2, 1, (1.0, 0.9)),
    ]


def test_a_rank_that_is_slow_in_forwards_unfolds_its_replica(topology: Topology) -> None:
    classes = fold_replicas(
        PLAN, topology, looping_placement(2, 1), {}, forward_speeds={13: 0.9, 12: 0.95}
    )
    assert [(c.replica, c.speeds, c.forward_speeds) for c in classes] == [
        (0, (1.0, 1.0), (1.0, 1.0)),
        (2, (1.0, 1.0), (1.0, 0.9)),
    ]


def test_unfolded_keeps_every_replica(topology: Topology) -> None:
    classes = fold_replicas(PLAN, topology, looping_placement(2, 1), {}, fold=False)
    assert [c.replica for c in classes] == [0, 1, 2, 3]


def test_the_slowest_tensor_parallel_rank_sets_the_pace() -> None:
    speeds = rank_speeds(PLAN, {0: 0.5, 1: 0.8})
    assert speeds.shape == (4, 2)
    assert speeds[0, 0] == 0.5
    assert np.sum(speeds == 1.0) == 7


def test_axis_order_decides_where_a_rank_is() -> None:
    last_is_tp = replace(PLAN, axis_order=("pp", "dp", "cp", "tp"))
    # rank = pp + 2 dp + 8 tp: rank 3 = (pp 1, dp 1, tp 0)
    assert rank_speeds(last_is_tp, {3: 0.7})[1, 1] == 0.7


def test_replicas_whose_stages_lie_otherwise_do_not_fold(topology: Topology) -> None:
    # rank = tp + 2 pp + 6 dp on nodes of 8: replica 0 lies in node 0, replica 1 spans nodes.
    plan = replace(PLAN, pp=3, dp=2, axis_order=("tp", "pp", "cp", "dp"))
    classes = fold_replicas(plan, topology, looping_placement(3, 1), {})
    assert len(classes) == 2


def test_paths_that_differ_in_latency_only_take_the_longest(topology: Topology) -> None:
    # 64 nodes, replicas of 2 ranks 8 apart: neighbours under one switch, or across two of them.
    large = Topology.of(load_cluster("selene", num_nodes=64))
    plan = replace(PLAN, tp=8, pp=2, dp=32, axis_order=("tp", "pp", "cp", "dp"))
    stages = looping_placement(2, 1)
    exact = {large.path(16 * replica, 16 * replica + 8) for replica in range(plan.dp)}
    chosen = {paths[0] for paths in replica_paths(plan, large, stages)}
    assert {(p.bandwidth_bytes_per_s, p.crosses_network) for p in exact} == {
        (p.bandwidth_bytes_per_s, p.crosses_network) for p in chosen
    }
    assert max(p.latency_s for p in exact) == max(p.latency_s for p in chosen)
    assert len(chosen) <= len(exact)


def test_the_largest_class_comes_first(topology: Topology) -> None:
    classes = fold_replicas(PLAN, topology, looping_placement(2, 1), {0: 0.9, 2: 0.9, 4: 0.9})
    assert [(c.replica, c.multiplicity) for c in classes] == [(0, 3), (3, 1)]


def test_every_replica_is_in_one_class(topology: Topology) -> None:
    classes = fold_replicas(PLAN, topology, looping_placement(2, 1), {3: 0.5, 8: 0.6, 11: 0.5})
    assert sum(c.multiplicity for c in classes) == PLAN.dp
    # Ranks 3, 8 and 11 are pipeline rank 0 of replica 1, rank 1 of replica 0, rank 1 of 1.
    assert {c.speeds for c in classes} == {(1.0, 1.0), (1.0, 0.6), (0.5, 0.5)}
