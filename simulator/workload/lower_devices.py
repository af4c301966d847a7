"""Schedule -> op graph of a whole cluster: every device, and every message on its own links."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from simulator.machine import PathLink
from simulator.numeric import IntArray
from simulator.schedule.action import Schedule
from simulator.workload.draft import GraphDraft
from simulator.workload.fabric_load import FabricLoad, fabric_load
from simulator.workload.inside import Inside, cut_passes
from simulator.workload.lower import add_step, tie
from simulator.workload.lower_passes import piece_counts
from simulator.workload.messages import Devices, Message, data_messages, send_messages
from simulator.workload.op import Flow, OpGraph, OpPhase
from simulator.workload.pieces import cut_into_pieces
from simulator.workload.replica import CoupledOps, Replica
from simulator.workload.step_costs import StepCosts

_Paths: TypeAlias = tuple[PathLink | None, ...]


def lower_devices(
    schedule: Schedule,
    costs: StepCosts,
    paths: Sequence[_Paths],
    devices: Devices,
    inside: Sequence[Inside] = (),
) -> tuple[OpGraph, FabricLoad]:
    """The graph of one step of all devices, and what its messages ask of the fabric.

    Tensor- and context-parallel peers, and replicas that share experts, wait for one another in
    every layer, so they enter and leave each pass together. A collective runs once, on the first
    device of its group, and ends for all of them: its slowest hop sets its pace.

    Args:
        schedule: order of the passes.
        costs: gives every op its row of the cost table.
        paths: [devices of a pipeline rank], path from every virtual stage to the next.
        devices: which they are, and the fabric between them.
        inside: collectives inside passes that are followed on the links.

    Raises:
        ScheduleError: if ops wait for each other in a cycle.
    """
    # One device is lowered for each kind of path: all do the same.
    kinds = {path: _lower_one(schedule, costs, path) for path in dict.fromkeys(paths)}
    one = kinds[paths[0]]
    # Of every kind the ops have the same numbers, and its collectives the same groups.
    collectives = [data_messages(kind, devices) for kind in kinds.values()]
    sends = [send_messages(kind, devices) for kind in kinds.values()]
    cuts = [cut_passes(kind, inside, devices) for kind in kinds.values()]
    messages = [*collectives[0], *sends[0], *cuts[0].messages]
    load = _load_of(messages)

    draft = GraphDraft()
    for link in load.links:
        draft.add_resource(f"link {link}")
    op_class = np.stack([kinds[path].draft.ops().op_class for path in paths])
    flow = np.full(op_class.shape, -1)
    for message in messages:
        _place(draft, message, load, flow, op_class, costs.join_row())
    ids = draft.add_copies(one.draft, op_class, flow)
    together = costs.plan.tp * costs.plan.cp * max(int(costs.plan.expert_spread), 1)
    for first in range(0, len(paths), together):
        _tie_passes(draft, one, cuts[0].ends, ids[first : first + together])
    for message in messages:
        _tie_groups(draft, costs, message, ids)
    for coupled in filter(lambda ops: ops.everywhere, one.coupled):
        own = zip(ids[:, coupled.entry], ids[:, coupled.ids], strict=True)
        tie(draft, costs, [CoupledOps(*ops) for ops in own])
    return draft.build(costs.table.names), load


def _lower_one(schedule: Schedule, costs: StepCosts, paths: _Paths) -> Replica:
    pieces = cut_into_pieces(schedule, piece_counts(schedule, costs))
    replica = Replica(GraphDraft(), schedule, costs, paths, pieces, tied=True)
    add_step(replica)
    return replica


def _load_of(messages: Sequence[Message]) -> FabricLoad:
    users: dict[int, list[dict[int, Flow]]] = {}
    for message in messages:
        runs = (int(members[0]) for members in message.members)
        users.setdefault(message.stream, []).append(dict(zip(runs, message.flows, strict=True)))
    return fabric_load(users)


def _place(
    draft: GraphDraft,
    message: Message,
    load: FabricLoad,
    flow: IntArray,
    op_class: IntArray,
    join_row: int,
) -> None:
    """The first device of every group runs its flow, the others wait. ``flow``: [devices, ops]."""
    for members, whole in zip(message.members, message.flows, strict=True):
        kept = load.only(whole)
        if kept:
            flow[members[0], message.ops] = draft.add_flow(kept, message.flow_class)
        op_class[np.ix_(members[1:], message.ops)] = join_row


def _tie_passes(draft: GraphDraft, one: Replica, ends: IntArray, ids: IntArray) -> None:
    """A piece of a pass begins when all peers have ended the one before. ``ids``: [peers, ops]."""
    if len(ids) == 1:
        return
    rank = one.pieces.rank
    later = np.flatnonzero(rank[1:] == rank[:-1]) + 1
    joins = draft.add_ops(np.full(later.size, one.costs.join_row()), -1, phase=int(OpPhase.JOIN))
    draft.add_edges(ids[:, ends[later - 1]], joins)
    draft.add_edges(joins, ids[:, one.ids[later]])


def _tie_groups(draft: GraphDraft, costs: StepCosts, message: Message, ids: IntArray) -> None:
    """The devices of every group begin a collective together, and end with the first of them."""
    for members in message.members:
        if len(members) > 1:
            entries, own = ids[np.ix_(members, message.entry)], ids[np.ix_(members, message.ops)]
            tie(draft, costs, [CoupledOps(*ops) for ops in zip(entries, own, strict=True)])
            draft.add_edges(own[0], own[1:])
