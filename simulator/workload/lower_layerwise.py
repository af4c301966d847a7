"""Lowering of updates layer by layer: gradients are used, and freed, during the backward."""

from __future__ import annotations

import numpy as np

from simulator.workload.op import OpPhase
from simulator.workload.replica import Replica


def add_layerwise_optimizer(replica: Replica) -> None:
    """One update after every piece of the last backward, as soon as its gradients are reduced.

    Where reductions run beside compute, the next layer's backward hides them: the update comes
    after it.

    Source: PyTorch, "How to save memory by fusing the optimizer step into the backward pass"
        (``register_post_accumulate_grad_hook``), as GaLore's and APOLLO's layer-wise optimizers do.
    Assumes: nothing needs the norm of all gradients.
    """
    pieces, plan = replica.pieces, replica.plan
    behind = 1.5 if plan.overlap_dp and plan.dp * plan.cp > 1 else 0.5
    for stage in range(replica.schedule.num_stages):
        rank = int(replica.schedule.stage_rank[stage])
        first = int(pieces.first[replica.last_phase, stage].max())
        last = int(pieces.last[replica.last_phase, stage].max())
        done = np.arange(first, last + 1)
        updates = replica.draft.add_ops(
            np.full(done.size, replica.costs.optimizer_row((stage,), num_pieces=done.size)),
            replica.stream("compute", rank),
            order=pieces.order[done] + behind,
            phase=int(OpPhase.OPTIMIZER),
            stage=stage,
        )
        ready = [replica.reduced.get(int(piece), int(replica.ids[piece])) for piece in done]
        replica.draft.add_edges(np.array(ready), updates)
