"""Rules of partial training: what is not modelled together."""

from __future__ import annotations

from simulator.errors import PlanError
from simulator.model import TransformerConfig
from simulator.plan import ParallelismPlan, TrainingConfig, num_microbatches


def check_trained(
    model: TransformerConfig,
    training: TrainingConfig,
    plan: ParallelismPlan,
    *,
    splits_backward: bool,
) -> None:
    """Checks what is trained against the model, the plan and its schedule.

    Raises:
        PlanError: for the first broken rule.
    """
    _check_targets(model, training)
    stored = training.optimizer.weight_bytes is not None
    sampled = training.activation_keep_ratio < 1
    full = training.optimizer.form == "full"
    if not plan.sharding.is_classic and (training.fine_tuning is not None or stored or not full):
        raise PlanError(
            f"adapters, quantised weights or low-rank states with sharding {plan.sharding.name} "
            "are not modelled",
            where="plan.sharding",
            hint="take ddp, zero1, zero2 or zero3",
        )
    if splits_backward and (training.fine_tuning is not None or stored or sampled):
        raise PlanError(
            f"frozen, quantised or sampled weights with schedule {plan.schedule}, which splits the "
            "backward, are not modelled",
            where="plan.schedule",
            hint="take 1f1b or interleaved",
        )
    if training.gradient_release == "layerwise":
        _check_release(training, plan, splits_backward=splits_backward)


def _check_targets(model: TransformerConfig, training: TrainingConfig) -> None:
    tuned = training.fine_tuning
    if tuned is None:
        return
    for name in tuned.targets:
        if name in ("gate", "gate_up") and not model.gated_mlp:
            raise PlanError(
                f"target '{name}' of the adapters, but the MLP of {model.name} is not gated",
                where="training.fine_tuning.targets",
                hint="take up and down",
            )
    if training.optimizer.form != "full" or training.optimizer.weight_bytes is not None:
        raise PlanError(
            f"optimizer {training.optimizer.name} on adapters is not modelled",
            where="training.optimizer",
            hint="take adamw, or adam8bit",
        )


def _check_release(
    training: TrainingConfig, plan: ParallelismPlan, *, splits_backward: bool
) -> None:
    count = num_microbatches(training, plan)
    if count > 1:
        raise PlanError(
            f"gradient_release layerwise with {count} microbatches per step: gradients that are "
            "freed cannot be accumulated",
            where="training.gradient_release",
            hint=f"set global_batch_size: {plan.dp * training.micro_batch_size}",
        )
    if plan.sharding.name != "ddp" or splits_backward or training.fine_tuning is not None:
        raise PlanError(
            "gradient_release layerwise is modelled with plan.sharding ddp, a backward in one "
            "piece and training of all weights only",
            where="training.gradient_release",
            hint="leave gradient_release out",
        )
