"""Rules that ``plan.offload`` obeys together with the rest of a scenario."""

from __future__ import annotations

from simulator.errors import PlanError
from simulator.machine import Node
from simulator.model import TransformerConfig
from simulator.offload import Offload
from simulator.plan import (
    ParallelismPlan,
    TrainingConfig,
    num_microbatches,
    reduces_every_microbatch,
)
from simulator.units import percent


def check_offload(
    model: TransformerConfig, training: TrainingConfig, plan: ParallelismPlan, node: Node
) -> None:
    """Checks the homes against machine, sharding and schedule.

    Raises:
        PlanError: for the first broken rule.
    """
    offload = plan.offload
    if offload is None:
        return
    _check_combination(model, training, plan)
    _check_tiers(offload, node)
    _check_gradients(offload, training, plan)
    _check_weights(offload, plan)
    _check_buffers(offload)


def _check_combination(
    model: TransformerConfig, training: TrainingConfig, plan: ParallelismPlan
) -> None:
    release, optimizer = training.gradient_release, training.optimizer
    for present, key, what in (
        (model.num_experts > 0, "model.num_experts", f"{model.num_experts} experts"),
        (not plan.sharding.is_classic, "plan.sharding", f"sharding {plan.sharding.name}"),
        # Gradients of weights then land in other passes than those of inputs.
        (plan.schedule.startswith("zb"), "plan.schedule", f"schedule {plan.schedule}"),
        (training.fine_tuning is not None, "training.fine_tuning", "adapters"),
        (release != "step", "training.gradient_release", f"gradient_release {release}"),
        (optimizer.form != "full", "training.optimizer", f"optimizer {optimizer.name}"),
    ):
        if present:
            raise PlanError(
                f"{what} together with plan.offload is not modelled",
                where=key,
                hint=f"leave plan.offload out, or change {key}",
            )


def _check_tiers(offload: Offload, node: Node) -> None:
    for kind, home in offload.homes.items():
        if home.tier != "device" and node.host_memory is None:
            raise PlanError(
                f"{kind} live on the {home.tier}, but node {node.name} has no known host memory",
                where=f"plan.offload.{kind}",
                hint="describe host_memory in the node's file",
            )
        if home.tier == "nvme" and node.nvme is None:
            raise PlanError(
                f"{kind} live on NVMe, but node {node.name} has none",
                where=f"plan.offload.{kind}",
                hint="take the host, or describe nvme in the node's file",
            )


def _check_weights(offload: Offload, plan: ParallelismPlan) -> None:
    """Weights live where one rank alone reads them, and come back from where they are updated."""
    if not offload.weights.away:
        if offload.tiling > 1 and not offload.optimizer.away and not offload.activations.away:
            raise PlanError(
                f"tiling {offload.tiling} has no effect: nothing lives off the device",
                where="plan.offload.tiling",
                hint="leave it out, or give weights, optimizer or activations a home elsewhere",
            )
        return
    tier = offload.weights.tier
    if offload.optimizer.away < offload.weights.away:
        weights = percent(offload.weights.away, digits=0)
        optimizer = percent(offload.optimizer.away, digits=0)
        raise PlanError(
            f"{weights} of the weights live on the {tier}, but only {optimizer} of the optimizer "
            "off the device: copying updated weights back is not modelled",
            where="plan.offload.weights",
            hint="give plan.offload.optimizer a home off the device, too",
        )
    if plan.sharding.gather == "after_step" and plan.dp * plan.cp > 1:
        raise PlanError(
            f"weights live on the {tier}, but sharding {plan.sharding.name} keeps a whole copy on "
            "every rank",
            where="plan.offload.weights",
            hint="take sharding zero3, or leave the weights on the device",
        )
    if offload.transfer == "broadcast" and offload.weights.on_nvme:
        raise PlanError(
            "transfer broadcast of weights on NVMe is not modelled",
            where="plan.offload.transfer",
            hint="take partitioned, or weights on the host",
        )


def _check_gradients(offload: Offload, training: TrainingConfig, plan: ParallelismPlan) -> None:
    """Gradients leave the device with every microbatch only if they are final shards by then."""
    if not offload.gradients.away:
        return
    if not offload.optimizer.away:
        raise PlanError(
            f"gradients live on the {offload.gradients.tier}, but the optimizer that reads them on "
            "the device",
            where="plan.offload.gradients",
            hint="give plan.offload.optimizer a home off the device, too",
        )
    alone = plan.dp * plan.cp == 1
    policy = plan.sharding
    if policy.shard_optimizer and not policy.shard_gradients and not alone:
        raise PlanError(
            f"gradients live on the {offload.gradients.tier}, but sharding {policy.name} keeps "
            "them whole on every rank",
            where="plan.offload.gradients",
            hint="take sharding zero2 or zero3, or leave the gradients on the device",
        )
    once = num_microbatches(training, plan) == 1
    if plan.pp > 1 or not (alone or once or reduces_every_microbatch(plan)):
        raise PlanError(
            f"gradients live on the {offload.gradients.tier}, but sharding {plan.sharding.name} "
            f"with pp = {plan.pp} adds them up on the device over "
            f"{num_microbatches(training, plan)} microbatches",
            where="plan.offload.gradients",
            hint="take pp 1 with sharding zero2 or zero3, or leave the gradients on the device",
        )


def _check_buffers(offload: Offload) -> None:
    if offload.pinned_buffer_bytes < 2**20:
        raise PlanError(
            f"pinned_buffer_bytes {offload.pinned_buffer_bytes:g} B is less than 1 MiB",
            where="plan.offload.pinned_buffer_bytes",
            hint="NVMe needs large accesses; DeepSpeed swaps no less than 1 MiB",
        )
