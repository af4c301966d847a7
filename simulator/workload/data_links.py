"""Links of the groups in which a plan's sharding policy communicates."""

from __future__ import annotations

from itertools import pairwise

from simulator.machine import GroupLink, Node
from simulator.plan import (
    ParallelismPlan,
    expert_data_group,
    replica_group,
    shard_group,
    stage_rank,
)
from simulator.shard_groups import group_between, level_size
from simulator.topology import Topology
from simulator.workload.links import LevelLinks, Links


def data_links(plan: ParallelismPlan, node: Node, topology: Topology) -> Links:
    """Links of the data-parallel groups, and between the ends of the pipeline."""
    ends = topology.path(0, stage_rank(plan, plan.pp - 1)) if plan.pp > 1 else None
    experts = None
    if plan.expert_spread != 1:
        experts = topology.group_link(expert_data_group(plan), num_ranks=plan.num_devices)
    return Links(
        shard=topology.group_link(shard_group(plan), num_ranks=plan.num_devices),
        replica=topology.group_link(replica_group(plan), num_ranks=plan.num_devices),
        ends=ends,
        experts=experts,
        overlap_replicas=plan.overlap_replicas or replica_group(plan).size == 1,
        levels=None if plan.sharding.is_classic else _level_links(plan, node, topology),
    )


def _level_links(plan: ParallelismPlan, node: Node, topology: Topology) -> LevelLinks:
    def link(inner: int, outer: int) -> GroupLink:
        group = group_between(plan, inner, outer)
        return topology.group_link(group, num_ranks=plan.num_devices)

    weights, secondary, gradients, optimizer = (
        level_size(plan, node, level)
        for level in (
            plan.sharding.weights,
            plan.sharding.secondary or plan.sharding.weights,
            plan.sharding.gradients,
            plan.sharding.optimizer,
        )
    )
    own = level_size(plan, node, "node")
    hops = (1, min(own, gradients), gradients) if plan.sharding.reduce_wire else (1, gradients)
    return LevelLinks(
        forward=link(1, weights),
        backward=link(1, secondary),
        refresh=link(weights, optimizer),
        reduce=tuple(link(inner, outer) for inner, outer in pairwise(hops) if inner < outer),
        across=(link(gradients, optimizer),) if gradients < optimizer else (),
    )
