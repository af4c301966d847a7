"""Rules that a plan with experts must keep."""

from __future__ import annotations

from simulator.errors import PlanError
from simulator.model import TransformerConfig, num_expert_layers
from simulator.plan import ParallelismPlan, Recompute, TrainingConfig, divisors
from simulator.stack import Stack


def check_experts(
    model: TransformerConfig, plan: ParallelismPlan, training: TrainingConfig, stack: Stack
) -> None:
    """Checks that experts divide over the ranks, and that what is asked for is modelled.

    Raises:
        PlanError: for the first broken rule, with all operands and what would be right.
    """
    if not model.num_experts:
        _check_dense(model, plan, training)
        return
    _check_degree(model, plan)
    _check_capacity(model, training)
    _check_modelled(model, plan, training.recompute)
    _check_training(training)
    if stack.listed_weights and plan.sharding.gather == "before_use":
        raise PlanError(
            f"{stack.name} gathers weights as lists, which is not modelled for experts",
            where="plan.sharding",
            hint="take another sharding or stack",
        )


def _check_dense(model: TransformerConfig, plan: ParallelismPlan, training: TrainingConfig) -> None:
    for where, value, neutral in (
        ("plan.ep", plan.ep, 1),
        ("plan.etp", plan.etp, None),
        ("training.capacity_factor", training.capacity_factor, 1.0),
    ):
        if value != neutral:
            raise PlanError(
                f"{where.rpartition('.')[2]} = {value}, but {model.name} has no experts",
                where=where,
                hint=f"leave {where} out, or give model.num_experts and model.top_k",
            )


def _check_capacity(model: TransformerConfig, training: TrainingConfig) -> None:
    most = model.num_experts / model.top_k
    if training.capacity_factor > most:
        raise PlanError(
            f"capacity_factor {training.capacity_factor:g} is above num_experts / top_k = "
            f"{model.num_experts} / {model.top_k} = {most:g}",
            where="training.capacity_factor",
            hint="an expert cannot see more than all tokens",
        )


def _check_degree(model: TransformerConfig, plan: ParallelismPlan) -> None:
    _check_cut(plan)
    # Experts that are not cut over tp are spread over its ranks, too.
    ranks = plan.dp * plan.tp // plan.expert_tp
    axis = f"dp {plan.dp}"
    if plan.expert_tp != plan.tp:
        axis = f"tp * dp = {plan.tp} * {plan.dp} = {ranks}"
    experts = f"num_experts {model.num_experts}"
    for text, size in ((experts, model.num_experts), (axis, ranks)):
        if size % plan.ep:
            degrees = [size for size in divisors(ranks) if model.num_experts % size == 0]
            raise PlanError(
                f"{text} is not divisible by ep = {plan.ep}",
                where="plan.ep",
                hint=f"ep may be {', '.join(map(str, degrees))}: "
                "it spreads the experts of a layer over ranks",
            )
    for name in ("expert_ffn_hidden_size", "shared_expert_ffn_hidden_size"):
        if getattr(model, name) % plan.tp:
            raise PlanError(
                f"{name} {getattr(model, name)} of {model.name} is not divisible by tp = {plan.tp}",
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
    if plan.ep % plan.tp and plan.tp % plan.ep:
        raise PlanError(
            f"etp = 1 needs an ep that divides tp = {plan.tp} or is a multiple, not {plan.ep}",
            where="plan.ep",
            hint="groups of experts then lie within a replica or take whole ones",
        )
    if plan.axis_order[0] != "tp" or plan.axis_order.index("pp") != len(plan.axis_order) - 1:
        raise PlanError(
            f"etp = 1 spreads experts over tp and dp, which are no neighbours in axis_order "
            f"{list(plan.axis_order)}",
            where="plan.axis_order",
            hint="take [tp, cp, dp, pp]",
        )


def _check_training(training: TrainingConfig) -> None:
    for present, key in (
        (training.fine_tuning is not None, "fine_tuning"),
        (training.gradient_release != "step", "gradient_release"),
        (training.activation_keep_ratio < 1, "activation_keep_ratio"),
        (training.optimizer.form != "full", "optimizer"),
    ):
        if present:
            raise PlanError(
                f"{key} of layers with experts is not modelled",
                where=f"training.{key}",
                hint=f"leave training.{key} out",
            )


def _check_modelled(model: TransformerConfig, plan: ParallelismPlan, recompute: Recompute) -> None:
    if model.parallel_block:
        raise PlanError(
            "experts beside a parallel attention block are not modelled",
            where="model.parallel_block",
            hint="set model.parallel_block: false",
        )
    if plan.expert_spread != 1 and plan.shard_group_size not in (None, plan.dp * plan.cp):
        raise PlanError(
            f"shard_group_size {plan.shard_group_size} with ep = {plan.ep} is not modelled",
            where="plan.shard_group_size",
            hint="leave it out, and take zero3 instead of hsdp: states are then sharded over all "
            "ranks that hold the same experts",
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
