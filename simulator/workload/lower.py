"""Schedule -> op graph, in small passes: passes, sends, gradients, weights, the optimizer step.

A pass reads the ids of those before it and adds ops and edges. Data-parallel replicas that behave
alike are one replica here; different ones are lowered side by side and tied together wherever a
collective spans them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.machine import PathLink
from simulator.numeric import IntArray
from simulator.schedule.action import Schedule
from simulator.workload.draft import GraphDraft
from simulator.workload.lower_data import add_gradient_reduce, add_weight_gather
from simulator.workload.lower_host_optimizer import add_host_optimizer
from simulator.workload.lower_layerwise import add_layerwise_optimizer
from simulator.workload.lower_offload import add_offload
from simulator.workload.lower_passes import add_dependencies, add_passes, piece_counts
from simulator.workload.lower_replicas import add_replica_exchange
from simulator.workload.op import OpGraph, OpPhase
from simulator.workload.pieces import cut_into_pieces
from simulator.workload.replica import CoupledOps, Replica
from simulator.workload.step_costs import StepCosts

START_OF_STEP = -4.0
"""Place of the step's fixed overhead, before everything else."""


def lower(
    schedule: Schedule, costs: StepCosts, replica_paths: Sequence[Sequence[PathLink | None]]
) -> OpGraph:
    """The graph of one step.

    Args:
        schedule: order of the passes.
        costs: gives every op its row of the cost table.
        replica_paths: one entry per replica in the graph: path from every virtual stage to the
            next, None where both are on one rank.

    Raises:
        ScheduleError: if ops wait for each other in a cycle.
    """
    draft = GraphDraft()
    pieces = cut_into_pieces(schedule, piece_counts(schedule, costs))
    replicas = [
        Replica(draft, schedule, costs, paths, pieces, index, tied=len(replica_paths) > 1)
        for index, paths in enumerate(replica_paths)
    ]
    for replica in replicas:
        add_step(replica)
    for ops in zip(*(replica.coupled for replica in replicas), strict=True):
        tie(draft, costs, ops)
    return draft.build(costs.table.names)


def add_step(replica: Replica) -> None:
    """All ops of one replica."""
    add_passes(replica)
    add_dependencies(replica)
    _add_overhead(replica)
    add_gradient_reduce(replica)
    add_replica_exchange(replica)
    _add_tied_embedding(replica)
    _add_optimizer(replica)
    add_weight_gather(replica)
    add_offload(replica)
    add_host_optimizer(replica)


def _add_overhead(replica: Replica) -> None:
    for rank in range(replica.schedule.num_ranks):
        replica.draft.add_ops(
            replica.costs.overhead_row(),
            replica.stream("compute", rank),
            order=START_OF_STEP,
            phase=int(OpPhase.STEP_OVERHEAD),
        )


def _add_tied_embedding(replica: Replica) -> None:
    """First and last pipeline rank sum their copies' gradients, after the replicas have."""
    stage_rank = replica.schedule.stage_rank
    first, last = int(stage_rank[0]), int(stage_rank[-1])
    ends = replica.costs.links.ends
    frozen = replica.costs.adapter_parameters is not None
    if first == last or ends is None or frozen or not replica.costs.model.tied_embeddings:
        return
    place = replica.pieces.end + 1.25
    ready = [
        replica.draft.add_ops(
            replica.costs.join_row(), stream, order=place, phase=int(OpPhase.JOIN)
        )
        for rank in (first, last)
        for stream in dict.fromkeys((replica.stream("compute", rank), replica.dp_stream(rank)))
    ]
    both = np.concatenate(ready)
    for rank in (first, last):
        reduce = replica.draft.add_ops(
            replica.costs.tied_embedding_row(ends),
            replica.stream("compute", rank),
            order=place + 0.25,
            phase=int(OpPhase.REDUCE_GRADIENTS),
        )
        replica.draft.add_edges(both, np.full(both.size, reduce[0]))


def _add_optimizer(replica: Replica) -> None:
    """The optimizer steps; where the norm of all gradients is needed, everywhere at once."""
    if replica.costs.layerwise:
        add_layerwise_optimizer(replica)
        return
    place = replica.pieces.end + 3
    ranks = range(replica.schedule.num_ranks)
    streams = dict.fromkeys(
        stream
        for rank in ranks
        for stream in (replica.stream("compute", rank), replica.dp_stream(rank))
    )
    ready = replica.draft.add_ops(
        replica.costs.join_row(), np.array(list(streams)), order=place - 1, phase=int(OpPhase.JOIN)
    )
    last_of = dict(zip(streams, ready.tolist(), strict=True))
    norm = _gradient_norm(replica, ready) if replica.schedule.joins_before_optimizer else None
    for rank in ranks:
        step = replica.draft.add_ops(
            replica.costs.optimizer_row(replica.stages_of(rank)),
            replica.stream("compute", rank),
            order=place,
            phase=int(OpPhase.OPTIMIZER),
        )
        before = np.array([last_of[replica.dp_stream(rank)]]) if norm is None else norm
        replica.draft.add_edges(before, step)
        replica.optimizer_steps[rank] = int(step[0])


def _gradient_norm(replica: Replica, ready: IntArray) -> IntArray:
    """An op that every rank of every replica must reach."""
    summed, norm = (
        replica.draft.add_ops(
            replica.costs.join_row(), -1, phase=int(OpPhase.JOIN), coupled=coupled
        )
        for coupled in (True, False)
    )
    replica.coupled.append(CoupledOps(summed, norm, everywhere=True))
    replica.draft.add_edges(ready, summed)
    replica.draft.add_edges(summed, norm)
    return norm


def tie(draft: GraphDraft, costs: StepCosts, replicas: Sequence[CoupledOps]) -> None:
    """Collectives start when they are ready in every replica."""
    if len(replicas) == 1:
        return
    join = draft.add_ops(
        np.full(replicas[0].entry.size, costs.join_row()), -1, phase=int(OpPhase.JOIN)
    )
    for ops in replicas:
        draft.add_edges(ops.entry, join)
        if ops.ids is not ops.entry:
            draft.add_edges(join, ops.ids)
