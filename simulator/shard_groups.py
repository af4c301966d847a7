"""Ranks over which a sharding policy divides each state, on the nodes of a machine."""

from __future__ import annotations

import math
from collections.abc import Iterable

from simulator.errors import PlanError
from simulator.machine import Edge, Node
from simulator.plan import ParallelismPlan, ProcessGroup, data_group
from simulator.sharding import SHARDING, Level, ShardSizes


def pair_size(node: Node) -> int:
    """Devices joined by the fastest direct links of a node; 1 where no links are faster.

    Assumes: such devices are numbered one after the other, as the two dies of an MI250X are.
    """
    links = [edge for edge in node.edges if _is_direct(edge)]
    widest = max((edge.bandwidth_bytes_per_s for edge in links), default=0.0)
    fast = [edge for edge in links if edge.bandwidth_bytes_per_s == widest]
    groups = _joined(node.num_devices, fast)
    size = len(groups[0])
    blocks = {tuple(range(first, first + size)) for first in range(0, node.num_devices, size)}
    whole_node = size == node.num_devices
    return 1 if whole_node or {tuple(sorted(group)) for group in groups} != blocks else size


def level_size(plan: ParallelismPlan, node: Node, level: Level) -> int:
    """Ranks of a level: as many data-parallel neighbours as fit into it, each level in the next."""
    stride = data_group(plan).stride
    match level:
        case "rank":
            return 1
        case "pair":
            return math.gcd(max(pair_size(node) // stride, 1), level_size(plan, node, "node"))
        case "node":
            return math.gcd(max(node.num_devices // stride, 1), plan.shard_size)
        case "global":
            return plan.shard_size


def shard_sizes(plan: ParallelismPlan, node: Node) -> ShardSizes:
    """Ranks over which the plan's policy divides each state."""
    policy = plan.sharding
    return ShardSizes(
        weights=level_size(plan, node, policy.weights),
        gradients=level_size(plan, node, policy.gradients),
        optimizer=level_size(plan, node, policy.optimizer),
        secondary=level_size(plan, node, policy.secondary) if policy.secondary else 0.0,
    )


def group_between(plan: ParallelismPlan, inner: int, outer: int) -> ProcessGroup:
    """Ranks that hold the same part of ``inner`` neighbours, among ``outer`` neighbours."""
    return ProcessGroup("dp", outer // inner, data_group(plan).stride * inner)


def check_levels(plan: ParallelismPlan, node: Node, *, listed_weights: bool) -> None:
    """Checks that the machine has the levels of the plan's policy.

    Args:
        plan: with its policy.
        node: of the machine.
        listed_weights: the stack gathers matrix by matrix, as lists.

    Raises:
        PlanError: if it does not, or the stack cannot run the policy.
    """
    policy = plan.sharding
    if "pair" in policy.levels and pair_size(node) == 1:
        raise PlanError(
            f"sharding {policy.name} divides weights over devices joined by faster links than the "
            f"others, but node {node.name} has none",
            where="plan.sharding",
            hint=f"take {_names_without('pair')}, or a machine such as frontier",
        )
    if plan.expert_spread != 1 and not policy.is_classic:
        raise PlanError(
            f"sharding {policy.name} with experts on fewer ranks than the other weights "
            f"(ep * etp / tp = {plan.expert_spread:g}) is not modelled",
            where="plan.sharding, plan.ep",
            hint="take ddp, zero1, zero2 or zero3, or plan.ep: 1",
        )
    if listed_weights and not policy.is_classic:
        raise PlanError(
            f"sharding {policy.name} on a stack that gathers matrix by matrix as lists "
            "(listed_weights) is not modelled",
            where="plan.sharding",
            hint="such stacks are older than the policy: take another stack, or zero3",
        )


def _names_without(level: Level) -> str:
    return ", ".join(name for name, policy in SHARDING.items() if level not in policy.levels)


def _is_direct(edge: Edge) -> bool:
    return edge.a.startswith("gpu") and edge.b.startswith("gpu")


def _joined(num_devices: int, edges: Iterable[Edge]) -> list[set[int]]:
    """Sets of devices that the edges join."""
    group_of = {device: {device} for device in range(num_devices)}
    for edge in edges:
        a, b = (group_of[int(end.removeprefix("gpu"))] for end in (edge.a, edge.b))
        if a is not b:
            a |= b
            for device in b:
                group_of[device] = a
    return list({id(group): group for group in group_of.values()}.values())
