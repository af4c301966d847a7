"""Lowering of the exchange among replicas of a shard, where it waits for the whole backward.

Source: Chowdhery et al. 2022, PaLM (arXiv 2204.02311), section 4: between two pods "the transfer
    does not start until each core finishes computing the gradients".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.workload.data_moves import reduce_kind, reduce_moves
from simulator.workload.move_prices import moves_s
from simulator.workload.op import OpPhase
from simulator.workload.replica import Replica
from simulator.workload.step_costs import StepCosts


def replica_row(costs: StepCosts, stages: tuple[int, ...]) -> int:
    """Row of the all-reduce of a rank's gradient shards over the replicas, once per step."""
    context, each = costs.pricer.context, costs.gradient_reduce_bytes
    *_, move = reduce_moves(
        costs.plan.sharding,
        replace(costs.links, overlap_replicas=True),
        costs.gradient_payload(stages),
        each,
        kind=reduce_kind(costs.plan.sharding, context.stack),
    )
    name = f"exchange {move.payload_bytes:.0f} B of gradients among replicas"
    row = costs.table.add(name, {"dp_comm": moves_s((move,), context)})
    costs.moves[row] = (move,)
    return row


def add_replica_exchange(replica: Replica) -> None:
    """After the last reduction of every rank; the optimizer waits for it."""
    if replica.costs.links.overlap_replicas:
        return
    for rank in range(replica.schedule.num_ranks):
        stages = replica.stages_of(rank)
        place = np.array([replica.pieces.end + 1])
        row = replica_row(replica.costs, stages)
        replica.add_coupled(row, rank, place, OpPhase.REDUCE_GRADIENTS, stages[0])
