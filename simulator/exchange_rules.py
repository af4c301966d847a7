"""Rules that ``plan.exchange`` obeys together with the rest of a scenario."""

from __future__ import annotations

from typing import Final

from simulator.errors import PlanError
from simulator.exchange_policy import Exchange
from simulator.model import TransformerConfig
from simulator.plan import ParallelismPlan, TrainingConfig, divisors

WITH_GROUPS: Final = ("local", "async_local", "streaming")
"""Policies whose workers may have several ranks; others act on every rank's own gradient."""


def check_exchange(
    model: TransformerConfig,
    training: TrainingConfig,
    plan: ParallelismPlan,
    *,
    has_stragglers: bool,
) -> None:
    """Checks a policy against the model, the plan and the training.

    Raises:
        PlanError: for the first broken rule.
    """
    exchange = plan.exchange
    if exchange is None:
        return
    _check_combination(model, training, plan, has_stragglers=has_stragglers)
    _check_workers(exchange, plan)
    if exchange.policy not in WITH_GROUPS:
        _check_each_rank(exchange, plan)
    _check_fragments(exchange, model)
    if exchange.by_layer and plan.num_stages > 1:
        raise PlanError(
            f"by_layer with pp * virtual_stages = {plan.num_stages} is not modelled",
            where="plan.exchange.by_layer",
            hint="take pp 1, or leave by_layer out",
        )
    if exchange.policy == "low_rank" and exchange.rank > model.hidden_size:
        raise PlanError(
            f"factors of rank {exchange.rank} for matrices of {model.hidden_size} rows: they are "
            "larger than the matrices",
            where="plan.exchange.rank",
            hint="take a small one, such as 4",
        )
    if exchange.policy == "scalar" and plan.pp > 1:
        raise PlanError(
            f"policy scalar with pp = {plan.pp} is not modelled",
            where="plan.pp",
            hint="take pp 1: without gradients and optimizer states tp is enough",
        )


def _check_combination(
    model: TransformerConfig,
    training: TrainingConfig,
    plan: ParallelismPlan,
    *,
    has_stragglers: bool,
) -> None:
    release = training.gradient_release
    for present, key, what in (
        (model.num_experts > 0, "model.num_experts", f"{model.num_experts} experts"),
        (plan.offload is not None, "plan.offload", "offload"),
        (not plan.sharding.is_classic, "plan.sharding", f"sharding {plan.sharding.name}"),
        (plan.shard_group_size is not None, "plan.shard_group_size", "shard_group_size"),
        (training.fine_tuning is not None, "training.fine_tuning", "adapters"),
        (release != "step", "training.gradient_release", f"gradient_release {release}"),
        (has_stragglers, "stragglers", "stragglers"),
    ):
        if present:
            raise PlanError(
                f"{what} together with plan.exchange is not modelled",
                where=key,
                hint=f"leave plan.exchange out, or change {key}",
            )


def _check_workers(exchange: Exchange, plan: ParallelismPlan) -> None:
    fitting = [str(number) for number in divisors(plan.dp) if number > 1]
    hint = f"take {', '.join(fitting)}" if fitting else "raise plan.dp"
    if exchange.workers < 2 and exchange.policy != "scalar":
        raise PlanError(
            f"policy {exchange.policy} with {exchange.workers} worker of dp = {plan.dp}: there is "
            "no other to exchange with",
            where="plan.exchange.workers",
            hint=hint,
        )
    if plan.dp % exchange.workers:
        raise PlanError(
            f"{exchange.workers} workers do not divide dp = {plan.dp} into groups of replicas",
            where="plan.exchange.workers",
            hint=hint,
        )


def _check_each_rank(exchange: Exchange, plan: ParallelismPlan) -> None:
    policy = plan.sharding
    if policy.shard_optimizer or policy.shard_gradients or policy.shard_weights:
        raise PlanError(
            f"policy {exchange.policy} with sharding {policy.name}: it acts on the whole gradient "
            "of every rank",
            where="plan.sharding",
            hint="take sharding ddp",
        )


def _check_fragments(exchange: Exchange, model: TransformerConfig) -> None:
    if exchange.fragments > min(model.num_layers, exchange.every):
        raise PlanError(
            f"{exchange.fragments} fragments of {model.num_layers} layers, exchanged once in "
            f"{exchange.every} steps",
            where="plan.exchange.fragments",
            hint="take at most as many as layers and as inner steps (every)",
        )
    if exchange.policy == "streaming" and exchange.overlap_steps > exchange.every:
        raise PlanError(
            f"overlap_steps {exchange.overlap_steps} is more than every = {exchange.every}: a "
            "fragment would leave again before it has come",
            where="plan.exchange.overlap_steps",
            hint=f"take at most {exchange.every}",
        )
