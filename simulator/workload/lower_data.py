"""Lowering of data parallelism: gradient reduction and weight gathers."""

from __future__ import annotations

import numpy as np

from simulator.numeric import FloatArray, IntArray
from simulator.plan import expert_data_group, reduces_every_microbatch
from simulator.schedule.action import Phase
from simulator.workload.op import OpPhase
from simulator.workload.replica import Replica

BEFORE_PASSES = -2.0
"""Place of weight gathers that open a step; passes have places from 0."""


def add_gradient_reduce(replica: Replica) -> None:
    """Gradients leave every stage: bucket by bucket beside its last backward, or at the end."""
    plan = replica.plan
    if plan.dp * plan.cp == 1 and expert_data_group(plan).size == 1:
        return
    every = reduces_every_microbatch(plan)
    for rank in range(replica.schedule.num_ranks):
        stages = replica.stages_of(rank)
        if plan.overlap_dp or every or replica.costs.layerwise:
            for stage in stages:
                _reduce_beside_backward(replica, rank, stage, every=every)
        else:
            row = replica.costs.reduce_row(stages)
            place = np.array([replica.pieces.end + 1])
            _add_kernels(replica, np.array([row]), rank, place - 0.5, OpPhase.REDUCE_GRADIENTS)
            ops = replica.add_coupled(row, rank, place, OpPhase.REDUCE_GRADIENTS, stages[0])
            replica.reduced_at_end[rank] = int(ops.ids[0])


def _reduce_beside_backward(replica: Replica, rank: int, stage: int, *, every: bool) -> None:
    """One reduction after each piece of the last backward, or of every backward."""
    pieces, phase = replica.pieces, replica.last_phase
    firsts, lasts = pieces.first[phase, stage], pieces.last[phase, stage]
    chosen = range(firsts.size) if every else range(firsts.size - 1, firsts.size)
    for microbatch in chosen:
        done = np.arange(int(firsts[microbatch]), int(lasts[microbatch]) + 1)
        final = microbatch == firsts.size - 1
        row = replica.costs.reduce_row((stage,), num_pieces=done.size, final=final)
        rows, order = np.full(done.size, row), pieces.order[done]
        which, kernels = _add_kernels(replica, rows, rank, order + 0.125, OpPhase.REDUCE_GRADIENTS)
        ops = replica.add_coupled(rows, rank, order + 0.25, OpPhase.REDUCE_GRADIENTS, stage)
        replica.draft.add_edges(replica.ids[done], ops.entry)
        replica.draft.add_edges(kernels, ops.entry[which])
        replica.reduced.update(zip(done.tolist(), ops.ids.tolist(), strict=True))


def _add_kernels(
    replica: Replica, rows: IntArray, rank: int, order: FloatArray, phase: OpPhase
) -> tuple[IntArray, IntArray]:
    """Kernels around collectives: they compute, so they are never beside compute.

    Assumes: those of a reduction all run before it, though some follow its hops; those of a
        gather all run after it, though quantising the own shard, a small part, comes before.

    Returns:
        Which of the collectives have any, and their ids.
    """
    found = {row: replica.costs.kernels_row(row) for row in dict.fromkeys(rows.tolist())}
    which = np.flatnonzero([found[row] is not None for row in rows.tolist()])
    own = np.array([found[row] for row in rows[which].tolist()], dtype=np.int64)
    if not own.size:
        return which, own
    stream = replica.stream("compute", rank)
    return which, replica.draft.add_ops(own, stream, order=order[which], phase=int(phase))


def add_weight_gather(replica: Replica) -> None:
    """All-gathers of sharded weights, when the policy says.

    After the step they are charged to this step's end; if they overlap they open the step, one
    per virtual stage in the order of first use, so that only the first is exposed.
    """
    plan = replica.plan
    alone = plan.shard_size == 1 and expert_data_group(plan).size == 1
    if alone or plan.sharding.gather == "never":
        return
    for rank in range(replica.schedule.num_ranks):
        stages = replica.stages_of(rank)
        if plan.sharding.gather == "before_use":
            _gather_before_use(replica, rank)
            if replica.costs.refreshes:
                _gather_at_end(replica, rank, replica.costs.refresh_row(stages), stages[0])
        elif plan.overlap_dp:
            for stage in stages:
                _gather_at_start(replica, rank, stage)
        else:
            _gather_at_end(replica, rank, replica.costs.gather_row(stages), stages[0])


def _gather_at_end(replica: Replica, rank: int, row: int, stage: int) -> None:
    """After the optimizer step, whose results it sends."""
    place = np.array([replica.pieces.end + 4])
    replica.step_gathers[rank] = replica.add_coupled(
        row, rank, place, OpPhase.GATHER_STEP, stage, beside=False
    )
    _add_kernels(replica, np.array([row]), rank, place + 0.5, OpPhase.GATHER_STEP)


def _gather_at_start(replica: Replica, rank: int, stage: int) -> None:
    row = replica.costs.gather_row((stage,))
    place = np.array([BEFORE_PASSES + stage / replica.schedule.num_stages])
    ops = replica.add_coupled(row, rank, place, OpPhase.GATHER_STEP, stage)
    first_use = replica.pieces.first[Phase.F, stage].min()
    replica.draft.add_edges(ops.ids, replica.ids[first_use])


def _gather_before_use(replica: Replica, rank: int) -> None:
    """One gather per piece, issued ``prefetch_depth`` pieces ahead of its use.

    The credit edge lets a gather start only when the piece ``prefetch_depth + 1`` places before
    its own has ended, so at most ``prefetch_depth + 1`` gathered pieces exist.
    """
    pieces, depth = replica.pieces, _gather_depth(replica)
    used = np.flatnonzero((pieces.rank == rank) & (pieces.phase != Phase.W))
    rows = _piece_gather_rows(replica, rank)[pieces.phase[used], pieces.stage[used]]
    ahead = depth + 0.5 if replica.plan.overlap_dp else 0.5
    ops = replica.add_coupled(
        rows, rank, pieces.order[used] - ahead, OpPhase.GATHER_WEIGHTS, pieces.stage[used]
    )
    replica.gathers[rank] = ops
    replica.draft.add_edges(ops.ids, replica.ids[used])
    order = pieces.order[used] - 0.25
    which, kernels = _add_kernels(replica, rows, rank, order, OpPhase.GATHER_WEIGHTS)
    replica.draft.add_edges(ops.ids[which], kernels)
    if replica.plan.overlap_dp:
        replica.draft.add_edges(replica.ids[used[: -(depth + 1)]], ops.entry[depth + 1 :])


def _gather_depth(replica: Replica) -> int:
    """Pieces that gathers run ahead: no further than copies bring their weights to the device."""
    depth, host = replica.plan.prefetch_depth, replica.costs.host
    if host is None or not host.offload.weights.away:
        return depth
    return min(depth, host.offload.depth)


def _piece_gather_rows(replica: Replica, rank: int) -> IntArray:
    """[phases, stages], row of the gather of one piece; -1 for stages of other ranks."""
    rows = np.full((2, replica.schedule.num_stages), -1, dtype=np.int64)
    for stage in replica.stages_of(rank):
        num_pieces = replica.costs.kinds[stage].num_pieces
        for phase in (Phase.F, Phase.B):
            rows[phase, stage] = replica.costs.gather_row(
                (stage,), num_pieces=num_pieces, phase=phase
            )
    return rows
