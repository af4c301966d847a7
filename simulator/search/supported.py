"""What a search has no form for."""

from __future__ import annotations

from simulator.errors import PlanError
from simulator.plan import ParallelismPlan
from simulator.scenario import Scenario


def check_searchable(scenario: Scenario) -> None:
    """Checks that plans of a scenario can be priced in columns.

    Raises:
        PlanError: for experts, for exchanges other than every step, for training of a part of the
            weights, and for a batch that follows from the microbatch, which a search varies.
    """
    if scenario.model.num_experts:
        raise PlanError(
            f"{scenario.model.name} has {scenario.model.num_experts} experts: plans with experts "
            "cannot be searched over yet",
            where="model.num_experts",
            hint="'trainsim compare --vary plan.ep=1,8 --vary plan.pp=1,2' runs a few side by side",
        )
    if scenario.plan.exchange is not None:
        raise PlanError(
            f"exchange policy {scenario.plan.exchange.policy} cannot be searched over yet",
            where="plan.exchange",
            hint="'trainsim compare --vary plan.exchange.every=1,12' runs a few plans side by side",
        )
    _check_overlaps(scenario.plan)
    training, optimizer = scenario.training, scenario.training.optimizer
    policy = scenario.auto_fit
    for present, key, what in (
        (training.fine_tuning is not None, "fine_tuning", "adapters beside frozen weights"),
        (training.gradient_release != "step", "gradient_release", "updates layer by layer"),
        (training.activation_keep_ratio < 1, "activation_keep_ratio", "sampled activations"),
        (optimizer.form != "full", "optimizer", f"optimizer {optimizer.name}"),
        (optimizer.weight_bytes is not None, "optimizer", "quantised weights"),
        (
            policy is not None and policy.num_microbatches is not None,
            "global_batch_size",
            "a global batch that follows from the microbatch",
        ),
    ):
        if present:
            raise PlanError(
                f"{what} cannot be searched over yet",
                where=f"training.{key}",
                hint="'trainsim compare --vary' runs a few plans side by side",
            )


def _check_overlaps(plan: ParallelismPlan) -> None:
    for present, key, what in (
        (plan.tp_overlap is not None, "tp_overlap", "reductions that leave products in chunks"),
        (not plan.overlap_replicas, "overlap.replicas", "replicas that wait for the backward"),
    ):
        if present:
            raise PlanError(
                f"{what} cannot be searched over yet",
                where=f"plan.{key}",
                hint="'trainsim compare --vary' runs a few plans side by side",
            )
