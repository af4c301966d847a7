"""What a gather or a reduction of a sharding policy moves: collectives, and kernels around them.

Source: DeepSpeed, runtime/zero/partition_parameters.py (``all_gather_coalesced``: quantise the own
    shard, gather it and its scales, dequantise the whole) and runtime/comm/coalesced_collectives.py
    (``all_to_all_quant_reduce``: quantise, all-to-all in the node, dequantise, add and quantise
    again in one kernel, all-to-all between nodes, dequantise and add).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simulator.cost.collective import CollectiveKind, bus_bytes
from simulator.machine import GroupLink
from simulator.numeric import Numeric, as_float
from simulator.schedule.action import Phase
from simulator.sharding import ReduceKind, ShardingPolicy, Wire
from simulator.stack import Stack
from simulator.workload.links import Links


@dataclass(frozen=True, slots=True)
class Move:
    """One collective, and the device memory that kernels around it read and write.

    Attributes:
        payload_bytes: nccl-tests convention, see ``cost/collective/volume.py``.
        kernel_bytes, num_kernels: of quantising, dequantising and copying; 0 for plain numbers.
    """

    kind: CollectiveKind
    payload_bytes: Numeric
    link: GroupLink
    kernel_bytes: Numeric = 0.0
    num_kernels: float = 0.0


def gather_moves(
    policy: ShardingPolicy, links: Links, payload: Numeric, element_bytes: float, phase: Phase
) -> tuple[Move, ...]:
    """All-gather of weights for a forward or a backward.

    Args:
        policy: its wire and its second copy count.
        links: of its groups.
        payload: bytes of the whole weights as plain numbers.
        element_bytes: of one of them.
        phase: for which.
    """
    if links.levels is None:
        return (Move("all_gather", payload, links.shard),)
    forward = phase is Phase.F
    link = links.levels.forward if forward else links.levels.backward
    wire = policy.forward_wire if forward else policy.backward_wire
    move = _gathered(wire, payload, element_bytes, link)
    if forward and policy.secondary is not None:
        copied = 2.0 * payload / links.levels.backward.size
        move = replace(
            move, kernel_bytes=move.kernel_bytes + copied, num_kernels=move.num_kernels + 1.0
        )
    return (move,)


def refresh_moves(
    policy: ShardingPolicy, links: Links, payload: Numeric, element_bytes: float
) -> tuple[Move, ...]:
    """All-gather of updated weights after the step, from optimizer shards to weight shards."""
    levels = links.levels
    if levels is None:
        return (Move("all_gather", payload, links.shard),)
    shard = payload * levels.refresh.size / links.shard.size
    return (_gathered(policy.refresh_wire, shard, element_bytes, levels.refresh),)


def _gathered(wire: Wire | None, payload: Numeric, element_bytes: float, link: GroupLink) -> Move:
    """An all-gather; quantised, one kernel packs the own shard and one unpacks the whole."""
    if wire is None or as_float(link.size) == 1:
        return Move("all_gather", payload, link)
    sent = payload * (wire.element_bytes / element_bytes)
    return Move("all_gather", sent, link, (payload + sent) * (1.0 + 1.0 / link.size), 2.0)


def reduce_kind(policy: ShardingPolicy, stack: Stack) -> ReduceKind:
    """How gradients are reduced over the shard group: by the policy, or by what the stack does.

    Source: Aleph-Alpha/scaling, core/optimizer/optimizer.py (``allreduce_gradients`` before
        ``step_prequel`` takes the slice that a rank owns).
    """
    only_optimizer = policy.shard_optimizer and not policy.shard_gradients
    return "all_reduce" if only_optimizer and stack.sharded_all_reduce else policy.reduce


def reduce_moves(
    policy: ShardingPolicy,
    links: Links,
    payload: Numeric,
    element_bytes: float,
    *,
    kind: ReduceKind,
    final: bool = True,
) -> tuple[Move, ...]:
    """Reduction of gradients: over their group, on to the optimizer's, then over the replicas.

    Args:
        policy: its wire counts, and what it reduces once per step only.
        links: of its groups.
        payload: bytes of the whole gradients as plain numbers.
        element_bytes: of one of them.
        kind: of the first collective.
        final: it is the last reduction of these gradients in a step.
    """
    levels = links.levels
    hops = (links.shard,) if levels is None else levels.reduce
    ends = final or not policy.across_once
    if levels is not None and ends:
        hops = (*hops, *levels.across)
    moves: list[Move] = []
    left = payload
    for place, link in enumerate(hops):
        if policy.reduce_wire is None:
            moves.append(Move(kind, left, link))
        else:
            again = place + 1 < len(hops)
            moves.append(_quantised(policy.reduce_wire, left, element_bytes, link, place, again))
        left = left / link.size if kind == "reduce_scatter" else left
    if ends and links.overlap_replicas:
        moves.append(Move("all_reduce", left, links.replica))
    return tuple(moves)


def _quantised(
    wire: Wire, left: Numeric, element_bytes: float, link: GroupLink, place: int, again: bool
) -> Move:
    """One hop of a quantised reduction; kernels quantise before the first, and add up after each.

    What is added up leaves quantised if another hop follows.
    """
    sent = left * (wire.element_bytes / element_bytes)
    added = (sent if again else left) / link.size
    first = 0.0 if place else left + sent
    return Move("all_to_all", sent, link, first + sent + added, 1.0 if place else 2.0)


def network_bytes(move: Move) -> Numeric:
    """Bytes that one rank's share of the NICs sends for a move; 0 inside a node.

    A ring leaves every node once, so the ranks of a node share its bytes. In an all-to-all every
    rank sends its own shards to the ranks of other nodes.
    """
    link = move.link
    per_node = link.size / link.num_nodes
    if move.kind == "all_to_all":
        sent = move.payload_bytes * (link.size - per_node) / link.size
    else:
        sent = bus_bytes(move.kind, move.payload_bytes, link.size) / per_node
    return np.where(np.asarray(link.num_nodes) > 1, sent, 0.0)[()]
