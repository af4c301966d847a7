"""Data-parallel replicas that must behave alike are simulated once.

Two replicas fold if every pipeline rank of one runs at the speed of the same rank of the other
and their stages are joined by the same kinds of path. A straggler or an odd placement changes
that signature, so heterogeneity unfolds itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from simulator.machine import PathLink
from simulator.numeric import FloatArray, IntArray
from simulator.plan import ParallelismPlan, axis_sizes, stage_rank
from simulator.topology import Topology


@dataclass(frozen=True, slots=True)
class ReplicaClass:
    """Replicas that behave alike.

    Attributes:
        replica: one of them.
        multiplicity: how many there are.
        speeds: [pipeline ranks], relative speed; the slowest tensor-parallel rank sets the pace.
        paths: [virtual stages - 1], path to the next stage; None within a rank.
    """

    replica: int
    multiplicity: int
    speeds: tuple[float, ...]
    paths: tuple[PathLink | None, ...]


def rank_speeds(plan: ParallelismPlan, speeds: Mapping[int, float]) -> FloatArray:
    """Speed of every (replica, pipeline rank): the minimum over its tp and cp ranks. [dp, pp].

    Args:
        plan: places ranks by ``axis_order``.
        speeds: global rank -> relative speed; others run at 1.
    """
    by_rank = np.ones(plan.num_devices)
    for rank, speed in speeds.items():
        by_rank[rank] = speed
    slowest_first = tuple(reversed(plan.axis_order))
    sizes = axis_sizes(plan)
    grid = by_rank.reshape([sizes[axis] for axis in slowest_first])
    order = [slowest_first.index(axis) for axis in ("dp", "pp", "tp", "cp")]
    return grid.transpose(order).min(axis=(2, 3))


def stage_paths(
    plan: ParallelismPlan, topology: Topology, ranks_of_stages: IntArray, replica: int
) -> tuple[PathLink | None, ...]:
    """Path from every virtual stage of a replica to the next one."""
    ranks = [stage_rank(plan, int(rank), replica) for rank in ranks_of_stages]
    return tuple(None if a == b else topology.path(a, b) for a, b in pairwise(ranks))


def fold_replicas(
    plan: ParallelismPlan,
    topology: Topology,
    ranks_of_stages: IntArray,
    speeds: Mapping[int, float],
    *,
    fold: bool = True,
) -> tuple[ReplicaClass, ...]:
    """Classes of replicas, the largest first; every replica alone with ``fold=False``."""
    by_replica = rank_speeds(plan, speeds)
    members: dict[tuple[object, ...], list[int]] = {}
    paths: dict[int, tuple[PathLink | None, ...]] = {}
    for replica in range(plan.dp):
        paths[replica] = stage_paths(plan, topology, ranks_of_stages, replica)
        signature = (paths[replica], by_replica[replica].tobytes())
        key = signature if fold else (replica,)
        members.setdefault(key, []).append(replica)
    classes = [
        ReplicaClass(
            replica=replicas[0],
            multiplicity=len(replicas),
            speeds=tuple(by_replica[replicas[0]].tolist()),
            paths=paths[replicas[0]],
        )
        for replicas in members.values()
    ]
    return tuple(sorted(classes, key=lambda c: (-c.multiplicity, c.replica)))
