"""Lowering of data parallelism: gradient reduction and weight gathers."""

from __future__ import annotations

import numpy as np

from simulator.numeric import IntArray
from simulator.plan import reduces_every_microbatch
from simulator.schedule.action import Phase
from simulator.workload.op import OpPhase
from simulator.workload.replica import Replica

BEFORE_PASSES = -2.0
"""Place of weight gathers that open a step; passes have places from 0."""


def add_gradient_reduce(replica: Replica) -> None:
    """Gradients leave every stage: bucket by bucket beside its last backward, or at the end."""
    plan = replica.plan
    if plan.dp * plan.cp == 1:
        return
    every = reduces_every_microbatch(plan)
    for rank in range(replica.schedule.num_ranks):
        stages = replica.stages_of(rank)
        if plan.overlap_dp or every:
            for stage in stages:
                _reduce_beside_backward(replica, rank, stage, every=every)
        else:
            row = replica.costs.reduce_row(stages)
            place = np.array([replica.pieces.end + 1])
            ops = replica.add_coupled(row, rank, place, OpPhase.REDUCE_GRADIENTS, stages[0])
            replica.reduced_at_end[rank] = int(ops.ids[0])


def _reduce_beside_backward(replica: Replica, rank: int, stage: int, *, every: bool) -> None:
    """One reduction after each piece of the last backward, or of every backward."""
    pieces, phase = replica.pieces, replica.last_phase
    firsts, lasts = pieces.first[phase, stage], pieces.last[phase, stage]
    chosen = range(firsts.size) if every else range(firsts.size - 1, firsts.size)
    for microbatch in chosen:
        done = np.arange(int(firsts[microbatch]), int(lasts[microbatch]) + 1)
        row = replica.costs.reduce_row((stage,), num_pieces=done.size)
        ops = replica.add_coupled(
            np.full(done.size, row),
            rank,
            pieces.order[done] + 0.25,
            OpPhase.REDUCE_GRADIENTS,
            stage,
        )
        replica.draft.add_edges(replica.ids[done], ops.entry)
        replica.reduced.update(zip(done.tolist(), ops.ids.tolist(), strict=True))


def add_weight_gather(replica: Replica) -> None:
    """All-gathers of sharded weights, when the policy says.

    After the step they are charged to this step's end; if they overlap they open the step, one
    per virtual stage in the order of first use, so that only the first is exposed.
    """
    plan = replica.plan
    if plan.shard_size == 1 or plan.sharding.gather == "never":
        return
    for rank in range(replica.schedule.num_ranks):
        stages = replica.stages_of(rank)
        if plan.sharding.gather == "before_use":
            _gather_before_use(replica, rank)
        elif plan.overlap_dp:
            for stage in stages:
                _gather_at_start(replica, rank, stage)
        else:
            row = replica.costs.gather_row(stages)
            place = np.array([replica.pieces.end + 4])
            replica.step_gathers[rank] = replica.add_coupled(
                row, rank, place, OpPhase.GATHER_STEP, stages[0]
            )


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
    pieces, depth = replica.pieces, replica.plan.prefetch_depth
    used = np.flatnonzero((pieces.rank == rank) & (pieces.phase != Phase.W))
    rows = _piece_gather_rows(replica, rank)[pieces.phase[used], pieces.stage[used]]
    ahead = depth + 0.5 if replica.plan.overlap_dp else 0.5
    ops = replica.add_coupled(
        rows, rank, pieces.order[used] - ahead, OpPhase.GATHER_WEIGHTS, pieces.stage[used]
    )
    replica.gathers[rank] = ops
    replica.draft.add_edges(ops.ids, replica.ids[used])
    if replica.plan.overlap_dp:
        replica.draft.add_edges(replica.ids[used[: -(depth + 1)]], ops.entry[depth + 1 :])


def _piece_gather_rows(replica: Replica, rank: int) -> IntArray:
    """[phases, stages], row of the gather of one piece; -1 for stages of other ranks."""
    rows = np.full((2, replica.schedule.num_stages), -1, dtype=np.int64)
    for stage in replica.stages_of(rank):
        num_pieces = max(replica.costs.kinds[stage].num_layers, 1)
        for phase in (Phase.F, Phase.B):
            rows[phase, stage] = replica.costs.gather_row(
                (stage,), num_pieces=num_pieces, phase=phase
            )
    return rows
