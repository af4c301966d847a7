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
    if offload.activations.away and plan.schedule.startswith("zb"):
        raise PlanError(
            f"activations at home on the {offload.activations.tier} with schedule {plan.schedule}, "
            "which splits the backward",
            where="plan.offload.activations",
            hint="keep them on the device, or take schedule 1f1b or interleaved",
        )
    _check_buffers(offload)


def _check_combination(
    model: TransformerConfig, training: TrainingConfig, plan: ParallelismPlan
) -> None:
    for present, what in (
        (model.num_experts > 0, f"{model.num_experts} experts"),
        (not plan.sharding.is_classic, f"sharding {plan.sharding.name}"),
        (training.fine_tuning is not None, "fine_tuning"),
        (training.gradient_release != "step", f"gradient_release {training.gradient_release}"),
        (training.optimizer.form != "full", f"optimizer {training.optimizer.name}"),
    ):
        if present:
            raise PlanError(
                f"offload together with {what} is not modelled",
                where="plan.offload",
                hint="leave plan.offload out, or the other one",
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
