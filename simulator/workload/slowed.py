"""What collectives of data parallelism cost the passes that they run beside.

A collective that hides behind compute is not free: its kernels hold multiprocessors and memory
bandwidth, and the compute beside it takes longer (``price.slowed_s``). The passes bear these
seconds as data-parallel communication, evenly over their pieces.

Assumes: gathers that open a step, reductions of whole microbatches beside the next one, and, where
    weights are gathered before use, reductions beside passes of weight gradients (W) slow nothing:
    of all three only a small part lies beside passes of the same step.
"""

from __future__ import annotations

from simulator.machine import Accelerator
from simulator.numeric import Integral, Numeric
from simulator.plan import expert_data_group, reduces_every_microbatch
from simulator.schedule.action import Phase
from simulator.workload.price import slowed_s
from simulator.workload.step_costs import StepCosts


def bucket_slowed_s(
    compute_s: Numeric, reduce_s: Numeric, num_pieces: Integral, accelerator: Accelerator
) -> Numeric:
    """Seconds that are added to each of the equal pieces of a backward.

    Each piece is followed by the reduction of its gradients: all but the last run beside a piece.

    Args:
        compute_s: of one piece.
        reduce_s: of its gradients.
        num_pieces: of the backward.
        accelerator: on which it runs.
    """
    return slowed_s(compute_s, reduce_s, accelerator) * ((num_pieces - 1) / num_pieces)


def piece_slowed_s(costs: StepCosts, stage: int, phase: Phase, num_pieces: int) -> Numeric:
    """Seconds that are added to one of the equal pieces of a pass.

    Where weights are gathered before use, the gather of a layer to come runs beside every layer,
    and in a backward the reduction of one that is done.

    Args:
        costs: prices of the step.
        stage: virtual stage.
        phase: of the pass.
        num_pieces: pieces it is cut into.
    """
    plan, accelerator = costs.plan, costs.pricer.context.accelerator
    alone = plan.dp * plan.cp == 1 and expert_data_group(plan).size == 1
    if alone or not plan.overlap_dp:
        return 0.0
    cost, every = costs.stage_cost(stage, phase), reduces_every_microbatch(plan)
    compute_s = (cost.compute_s + cost.recompute_s) / num_pieces
    last = phase is (Phase.W if costs.pricer.splits_backward else Phase.B)
    if plan.sharding.gather == "before_use":
        if phase is Phase.W:
            return 0.0
        layers = max(costs.kinds[stage].num_layers, 1)
        beside_s = costs.table.seconds(costs.gather_row((stage,), num_pieces=layers, phase=phase))
        if last and every:
            reduce_s = costs.table.seconds(costs.reduce_row((stage,), num_pieces=layers))
            beside_s = beside_s + reduce_s
        return slowed_s(compute_s, beside_s, accelerator)
    if not last or num_pieces == 1 or (costs.host is not None and not every):
        return 0.0
    reduce_s = costs.table.seconds(costs.reduce_row((stage,), num_pieces=num_pieces))
    return bucket_slowed_s(compute_s, reduce_s, num_pieces, accelerator)
