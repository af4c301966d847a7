"""Rules that a plan with experts must keep."""

from __future__ import annotations

from simulator.errors import PlanError
from simulator.model import TransformerConfig, num_expert_layers
from simulator.plan import ParallelismPlan, Recompute, divisors


def check_experts(model: TransformerConfig, plan: ParallelismPlan, recompute: Recompute) -> None:
    """Checks that experts divide over the ranks, and that what is asked for is modelled.

    Raises:
        PlanError: for the first broken rule, with all operands and what would be right.
    """
    if not model.num_experts:
        if plan.ep != 1:
            raise PlanError(
                f"ep = {plan.ep}, but {model.name} has no experts",
                where="plan.ep",
                hint="leave plan.ep out, or give model.num_experts and model.top_k",
            )
        return
    _check_degree(model, plan)
    _check_modelled(model, plan, recompute)


def _check_degree(model: TransformerConfig, plan: ParallelismPlan) -> None:
    _check_cut(plan)
    # Experts that are not cut over tp are spread over its ranks, too.
    ranks = plan.dp * plan.tp // plan.expert_tp
    axis = "dp" if plan.expert_tp == plan.tp else "tp * dp"
    for name, size in (("num_experts", model.num_experts), (axis, ranks)):
        if size % plan.ep:
            degrees = [size for size in divisors(ranks) if model.num_experts % size == 0]
            raise PlanError(
                f"{name} {size} is not divisible by ep = {plan.ep}",
                where="plan.ep",
                hint=f"ep may be {', '.join(map(str, degrees))}: "
                "it spreads the experts of a layer over ranks",
            )
    for width in (model.expert_ffn_hidden_size, model.shared_expert_ffn_hidden_size):
        if width % plan.tp:
            raise PlanError(
                f"width {width} of the experts of {model.name} is not divisible by tp = {plan.tp}",
                where="plan.tp",
                hint="every expert is cut over tp, as a dense MLP is",
            )


def _check_cut(plan: ParallelismPlan) -> None:
    if plan.expert_tp not in (1, plan.tp):
        raise PlanError(
            f"etp = {plan.etp} is neither 1 nor tp = {plan.tp}",
            where="plan.etp",
            hint="experts are whole (etp: 1) or cut over tp (leave etp out)",
        )
    if plan.expert_tp == plan.tp:
        return
    if not plan.sequence_parallel:
        raise PlanError(
            f"etp = 1 with tp = {plan.tp} needs sequence_parallel: ranks route their own tokens",
            where="plan.sequence_parallel",
            hint="set plan.sequence_parallel: true",
        )
    if plan.axis_order[0] != "tp" or plan.axis_order.index("pp") != len(plan.axis_order) - 1:
        raise PlanError(
            f"etp = 1 spreads experts over tp and dp, which are no neighbours in axis_order "
            f"{list(plan.axis_order)}",
            where="plan.axis_order",
            hint="take [tp, cp, dp, pp]",
        )


def _check_modelled(model: TransformerConfig, plan: ParallelismPlan, recompute: Recompute) -> None:
    if model.parallel_block:
        raise PlanError("experts beside a parallel attention block are not modelled")
    if plan.expert_spread != 1 and plan.shard_group_size not in (None, plan.dp * plan.cp):
        raise PlanError(
            f"shard_group_size {plan.shard_group_size} with ep = {plan.ep} is not modelled",
            where="plan.shard_group_size",
            hint="leave it out: states are then sharded over all ranks that hold the same experts",
        )
    if recompute.mode == "alternate":
        raise PlanError(
            "recompute 'alternate' is not modelled for layers with experts",
            where="training.recompute",
            hint="take none, selective or full",
        )
    mixed = 0 < num_expert_layers(model) < model.num_layers
    if mixed and recompute.num_layers is not None:
        raise PlanError(
            f"recompute.num_layers {recompute.num_layers} of layers with and without experts is "
            "not modelled",
            where="training.recompute.num_layers",
            hint="leave it out: every layer then recomputes",
        )
