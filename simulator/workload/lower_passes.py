"""Lowering of forwards and backwards, and of the sends between pipeline ranks."""

from __future__ import annotations

import numpy as np

from simulator.machine import PathLink
from simulator.numeric import IntArray
from simulator.schedule.action import Phase, Schedule
from simulator.workload.op import OpPhase
from simulator.workload.replica import Replica
from simulator.workload.slowed import piece_slowed_s
from simulator.workload.step_costs import StepCosts

_FIRST, _MIDDLE, _LAST, _WHOLE = range(4)


def piece_counts(schedule: Schedule, costs: StepCosts) -> IntArray:
    """Pieces of every pass. [phases, stages, microbatches].

    Weights gathered before use, and whatever travels to or from the host, interleave with every
    layer; gradient buckets that overlap with compute interleave with the last backward, and so do
    updates layer by layer.
    """
    layers = np.array([kind.num_pieces for kind in costs.kinds])
    counts = np.ones((3, schedule.num_stages, schedule.num_microbatches), dtype=np.int64)
    if costs.plan.sharding.gather == "before_use" or costs.host is not None:
        counts[[Phase.F, Phase.B]] = layers[:, None]
    elif costs.layerwise:
        counts[Phase.B, :, -1] = layers
    elif costs.plan.overlap_dp:
        payload = np.array([costs.gradient_payload((stage,)) for stage in range(layers.size)])
        buckets = np.ceil(payload / costs.plan.bucket_bytes).astype(np.int64)
        last = Phase.W if schedule.splits_backward else Phase.B
        counts[last, :, -1] = np.clip(buckets, 1, layers)
    return counts


def add_passes(replica: Replica) -> None:
    """F, B and W ops in schedule order."""
    pieces = replica.pieces
    side = np.where(pieces.index == pieces.count - 1, _LAST, _MIDDLE)
    side[pieces.index == 0] = _FIRST
    side[pieces.count == 1] = _WHOLE
    compute = np.array(
        [replica.stream("compute", rank) for rank in range(replica.schedule.num_ranks)]
    )
    replica.ids = replica.draft.add_ops(
        _pass_rows(replica)[pieces.phase, pieces.stage, side],
        compute[pieces.rank],
        order=pieces.order,
        phase=pieces.phase,
        stage=pieces.stage,
        microbatch=pieces.microbatch,
    )


def _pass_rows(replica: Replica) -> IntArray:
    """Cost rows of passes and their pieces. [phases, stages, place of the piece]."""
    schedule, costs = replica.schedule, replica.costs
    most = piece_counts(schedule, costs).max(axis=2)
    rows = np.full((3, schedule.num_stages, 4), -1, dtype=np.int64)
    for phase in Phase:
        if phase is Phase.W and not schedule.splits_backward:
            continue
        for stage in range(schedule.num_stages):
            send = None if replica.plan.overlap_pp else _path_after(replica, phase, stage)
            slowed_s = piece_slowed_s(costs, stage, phase, 1)
            rows[phase, stage, _WHOLE] = costs.pass_row(stage, phase, send=send, slowed_s=slowed_s)
            count = int(most[phase, stage])
            if count > 1:
                slowed_s = piece_slowed_s(costs, stage, phase, count)
                for place, piece in ((_FIRST, 0), (_MIDDLE, 1), (_LAST, count - 1)):
                    rows[phase, stage, place] = costs.pass_row(
                        stage,
                        phase,
                        send=send,
                        piece=piece,
                        num_pieces=count,
                        slowed_s=slowed_s,
                    )
    return rows


def _path_after(replica: Replica, phase: Phase, stage: int) -> PathLink | None:
    """Path over which the result of a pass leaves its rank; None where it stays or ends."""
    if phase is Phase.F and stage < replica.schedule.num_stages - 1:
        return replica.paths[stage]
    if phase is Phase.B and stage > 0:
        return replica.paths[stage - 1]
    return None


def add_dependencies(replica: Replica) -> None:
    """F(s) -> F(s+1) -> ... -> B(last) -> ... -> B(s), B(s) -> W(s)."""
    schedule, pieces, ids = replica.schedule, replica.pieces, replica.ids
    last = schedule.num_stages - 1
    for stage in range(last):
        _connect(replica, Phase.F, stage, stage + 1)
        _connect(replica, Phase.B, stage + 1, stage)
    replica.draft.add_edges(ids[pieces.last[Phase.F, last]], ids[pieces.first[Phase.B, last]])
    if schedule.splits_backward:
        replica.draft.add_edges(ids[pieces.last[Phase.B]], ids[pieces.first[Phase.W]])


def _connect(replica: Replica, phase: Phase, source: int, target: int) -> None:
    """The result of ``source`` reaches ``target``, through a send op where sends overlap."""
    pieces, ids = replica.pieces, replica.ids
    before = ids[pieces.last[phase, source]]
    after = ids[pieces.first[phase, target]]
    path = _path_after(replica, phase, source)
    if path is None or not replica.plan.overlap_pp:
        replica.draft.add_edges(before, after)
        return
    forward = phase is Phase.F
    rank = int(replica.schedule.stage_rank[source])
    sends = replica.draft.add_ops(
        replica.costs.send_row(path),
        replica.stream("pp-forward" if forward else "pp-backward", rank),
        order=pieces.order[pieces.last[phase, source]],
        phase=int(OpPhase.SEND_ACTIVATION if forward else OpPhase.SEND_GRADIENT),
        stage=source,
        microbatch=np.arange(before.size),
        resource=replica.nic(rank) if path.crosses_network else -1,
    )
    replica.draft.add_edges(before, sends)
    replica.draft.add_edges(sends, after)
