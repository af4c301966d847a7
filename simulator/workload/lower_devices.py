"""Schedule -> op graph of a whole cluster: every device, and every message on its own links."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from simulator.machine import PathLink
from simulator.numeric import IntArray
from simulator.schedule.action import Schedule
from simulator.workload.draft import GraphDraft, Ops
from simulator.workload.lower import add_step, tie
from simulator.workload.lower_passes import piece_counts
from simulator.workload.op import OpGraph, OpPhase
from simulator.workload.pieces import cut_into_pieces
from simulator.workload.replica import CoupledOps, Replica
from simulator.workload.step_costs import StepCosts
from simulator.workload.wires import FabricLoad

_Paths: TypeAlias = tuple[PathLink | None, ...]


def lower_devices(
    schedule: Schedule, costs: StepCosts, paths: Sequence[_Paths], load: FabricLoad
) -> OpGraph:
    """The graph of one step of all devices.

    Tensor- and context-parallel peers wait for one another in every layer, so they enter and leave
    each pass together. A collective over the replicas runs once, on the first device of its group,
    and ends for all of them: its slowest hop sets its pace.

    Args:
        schedule: order of the passes.
        costs: gives every op its row of the cost table.
        paths: [devices of a pipeline rank], path from every virtual stage to the next.
        load: what every device loads of the fabric.

    Raises:
        ScheduleError: if ops wait for each other in a cycle.
    """
    # All devices do the same, if not over the same kinds of path: one is lowered for each kind.
    kinds = {path: _lower_one(schedule, costs, path) for path in dict.fromkeys(paths)}
    one = kinds[paths[0]]
    ops = one.draft.ops()
    tp, peers = costs.plan.tp, costs.plan.tp * costs.plan.cp
    collectives = [coupled for coupled in one.coupled if not coupled.everywhere]

    draft = GraphDraft()
    for link in load.links:
        draft.add_resource(f"link {link}")
    flow = _flows(draft, one, ops, load)
    op_class = np.stack([kinds[path].draft.ops().op_class for path in paths])
    for coupled in collectives:
        op_class[tp:, coupled.ids] = costs.join_row()
    ids = draft.add_copies(one.draft, op_class, flow)
    for first in range(0, len(paths), peers):
        _tie_passes(draft, one, ids[first : first + peers])
    for coupled in one.coupled:
        _tie_groups(draft, costs, coupled, ids, tp)
    return draft.build(costs.table.names)


def _lower_one(schedule: Schedule, costs: StepCosts, paths: _Paths) -> Replica:
    pieces = cut_into_pieces(schedule, piece_counts(schedule, costs))
    replica = Replica(GraphDraft(), schedule, costs, paths, pieces, tied=True)
    add_step(replica)
    return replica


def _flows(draft: GraphDraft, one: Replica, ops: Ops, load: FabricLoad) -> IntArray:
    """[devices, ops] index of the flow of every message, -1 where it meets nobody."""
    flow = np.full((len(load.sends), ops.stream.size), -1, dtype=np.int64)
    streams = one.draft.streams
    for coupled in one.coupled:
        crossing = [op for op in coupled.ids.tolist() if one.costs.crosses(int(ops.op_class[op]))]
        for op in [] if coupled.everywhere else crossing:
            rank = streams[ops.stream[op]].rank
            for leader, rings in enumerate(load.rings):
                flow[leader, op] = draft.add_flow(rings[rank]) if rings[rank] else -1
    stage_rank = one.schedule.stage_rank.tolist()
    for phase, step in ((OpPhase.SEND_ACTIVATION, 1), (OpPhase.SEND_GRADIENT, -1)):
        for op in np.flatnonzero(ops.phase == phase).tolist():
            stage = int(ops.stage[op])
            pair = (stage_rank[stage], stage_rank[stage + step])
            for device, sends in enumerate(load.sends):
                flow[device, op] = draft.add_flow(sends[pair]) if sends[pair] else -1
    return flow


def _tie_passes(draft: GraphDraft, one: Replica, ids: IntArray) -> None:
    """A piece of a pass begins when all peers have ended the one before. ``ids``: [peers, ops]."""
    if len(ids) == 1:
        return
    rank = one.pieces.rank
    later = np.flatnonzero(rank[1:] == rank[:-1]) + 1
    joins = draft.add_ops(np.full(later.size, one.costs.join_row()), -1, phase=int(OpPhase.JOIN))
    draft.add_edges(ids[:, one.ids[later - 1]], joins)
    draft.add_edges(joins, ids[:, one.ids[later]])


def _tie_groups(
    draft: GraphDraft, costs: StepCosts, coupled: CoupledOps, ids: IntArray, tp: int
) -> None:
    """Ties a collective of every data-parallel group, or one of all devices."""
    groups = [ids] if coupled.everywhere else [ids[first::tp] for first in range(tp)]
    for group in groups:
        entries, own = group[:, coupled.entry], group[:, coupled.ids]
        tie(draft, costs, [CoupledOps(*ops) for ops in zip(entries, own, strict=True)])
        if not coupled.everywhere:
            draft.add_edges(own[0], own[1:])
