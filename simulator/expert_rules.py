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
    for name, size in (("num_experts", model.num_experts), ("dp", plan.dp)):
        if size % plan.ep:
            raise PlanError(
                f"{name} {size} is not divisible by ep = {plan.ep}",
                where="plan.ep",
                hint=f"ep may be {', '.join(map(str, _degrees(model, plan)))}: "
                "it shares the experts of a layer among replicas",
            )
    width = model.expert_ffn_hidden_size
    if width % plan.tp or model.shared_expert_ffn_hidden_size % plan.tp:
        raise PlanError(
            f"expert_ffn_hidden_size {width} or shared_expert_ffn_hidden_size "
            f"{model.shared_expert_ffn_hidden_size} is not divisible by tp = {plan.tp}",
            where="plan.tp",
            hint="every expert is cut over tp, as a dense MLP is",
        )


def _degrees(model: TransformerConfig, plan: ParallelismPlan) -> list[int]:
    return [size for size in divisors(plan.dp) if model.num_experts % size == 0]


def _check_modelled(model: TransformerConfig, plan: ParallelismPlan, recompute: Recompute) -> None:
    if model.parallel_block:
        raise PlanError("experts beside a parallel attention block are not modelled")
    if plan.ep > 1 and plan.shard_group_size not in (None, plan.dp * plan.cp):
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
