"""Data-parallel replicas that must behave alike are simulated once.

Two replicas fold if every pipeline rank of one runs at the speed of the same rank of the other
and their stages are joined by the same kinds of path. A straggler or an odd placement changes
that signature, so heterogeneity unfolds itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from simulator.machine import PathLink
from simulator.numeric import FloatArray, IntArray
from simulator.plan import ParallelismPlan, axis_sizes, stage_rank
from simulator.topology import Topology

Paths: TypeAlias = tuple[PathLink | None, ...]
"""Path from every virtual stage to the next; None within a rank."""


@dataclass(frozen=True, slots=True)
class ReplicaClass:
    """Replicas that behave alike.

    Attributes:
        replica: one of them.
        multiplicity: how many there are.
        speeds: [pipeline ranks], relative speed; the slowest tensor-parallel rank sets the pace.
        paths: [virtual stages - 1], path to the next stage; None within a rank.
        forward_speeds: [pipeline ranks], relative speed in forwards, on top of ``speeds``.
    """

    replica: int
    multiplicity: int
    speeds: tuple[float, ...]
    paths: Paths
    forward_speeds: tuple[float, ...]


def rank_speeds(plan: ParallelismPlan, speeds: Mapping[int, float]) -> FloatArray:
    """Speed of every (replica, pipeline rank): the minimum over its tp and cp ranks. [dp, pp].

    Replicas that share experts wait for one another in every layer: the slowest sets their pace.

    Args:
        plan: places ranks by ``axis_order``.
        speeds: global rank -> relative speed; others run at 1.
    """
    by_replica = _by_rank(plan, speeds)[device_ranks(plan)].min(axis=1)
    together = max(int(plan.expert_spread), 1)
    slowest = by_replica.reshape(plan.dp // together, together, plan.pp).min(axis=1)
    return np.repeat(slowest, together, axis=0)


def device_ranks(plan: ParallelismPlan) -> IntArray:
    """Global rank of every device. [dp, cp * tp, pp]; the last of cp and tp varies fastest."""
    slowest_first = tuple(reversed(plan.axis_order))
    sizes = axis_sizes(plan)
    grid = np.arange(plan.num_devices).reshape([sizes[axis] for axis in slowest_first])
    order = [slowest_first.index(axis) for axis in ("dp", "cp", "tp", "pp")]
    return grid.transpose(order).reshape(plan.dp, plan.cp * plan.tp, plan.pp)


def _by_rank(plan: ParallelismPlan, speeds: Mapping[int, float]) -> FloatArray:
    """[global ranks], speed of every device."""
    by_rank = np.ones(plan.num_devices)
    for rank, speed in speeds.items():
        by_rank[rank] = speed
    return by_rank


def replica_paths(
    plan: ParallelismPlan, topology: Topology, ranks_of_stages: IntArray
) -> tuple[Paths, ...]:
    """Paths between the stages of every replica. [dp][stages - 1].

    A message's latency is that of the worst replica with the same kind of path, as a collective's
    link is its worst sibling's: replicas wait for one another, and a switch more or less on the
    way (microseconds) does not make them different.
    """
    boundaries = list(pairwise(ranks_of_stages.tolist()))
    crossings = [(a, b) for a, b in dict.fromkeys(boundaries) if a != b]
    # Virtual stages pass the same pairs of ranks again and again: one path for each pair.
    per_stage = stage_rank(plan, 1)
    starts = [stage_rank(plan, 0, replica) for replica in range(plan.dp)]
    exact = [
        {(a, b): topology.path(start + a * per_stage, start + b * per_stage) for a, b in crossings}
        for start in starts
    ]
    worst: dict[tuple[object, ...], PathLink] = {}
    for paths in exact:
        for pair, path in paths.items():
            kind = (pair, path.bandwidth_bytes_per_s, path.crosses_network)
            worst[kind] = max(worst.get(kind, path), path, key=lambda p: p.latency_s)
    shared = [
        {
            pair: worst[pair, path.bandwidth_bytes_per_s, path.crosses_network]
            for pair, path in paths.items()
        }
        for paths in exact
    ]
    return tuple(tuple(paths.get(pair) for pair in boundaries) for paths in shared)


def fold_replicas(
    plan: ParallelismPlan,
    topology: Topology,
    ranks_of_stages: IntArray,
    speeds: Mapping[int, float],
    *,
    forward_speeds: Mapping[int, float] | None = None,
    fold: bool = True,
) -> tuple[ReplicaClass, ...]:
    """Classes of replicas, the largest first; every replica alone with ``fold=False``."""
    by_replica = rank_speeds(plan, speeds)
    in_forward = rank_speeds(plan, forward_speeds or {})
    paths = replica_paths(plan, topology, ranks_of_stages)
    members: dict[tuple[object, ...], list[int]] = {}
    for replica in range(plan.dp):
        own = (by_replica[replica].tobytes(), in_forward[replica].tobytes())
        signature = (paths[replica], *own)
        key = signature if fold else (replica,)
        members.setdefault(key, []).append(replica)
    classes = [
        ReplicaClass(
            replica=replicas[0],
            multiplicity=len(replicas),
            speeds=tuple(by_replica[replicas[0]].tolist()),
            paths=paths[replicas[0]],
            forward_speeds=tuple(in_forward[replicas[0]].tolist()),
        )
        for replicas in members.values()
    ]
    return tuple(sorted(classes, key=lambda c: (-c.multiplicity, c.replica)))


def unfold_devices(
    plan: ParallelismPlan,
    topology: Topology,
    ranks_of_stages: IntArray,
    speeds: Mapping[int, float],
    *,
    forward_speeds: Mapping[int, float],
) -> tuple[ReplicaClass, ...]:
    """Every tensor- and context-parallel peer of every replica as a class of its own.

    Returns:
        Replica after replica, each with its peers in the order of ``device_ranks``.
    """
    ranks = device_ranks(plan)
    own, in_forward = (_by_rank(plan, given)[ranks] for given in (speeds, forward_speeds))
    paths = replica_paths(plan, topology, ranks_of_stages)
    return tuple(
        ReplicaClass(
            replica=replica,
            multiplicity=1,
            speeds=tuple(own[replica, peer].tolist()),
            paths=paths[replica],
            forward_speeds=tuple(in_forward[replica, peer].tolist()),
        )
        for replica in range(ranks.shape[0])
        for peer in range(ranks.shape[1])
    )
