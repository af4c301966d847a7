"""Rules that ``plan.overlap.replicas: false`` obeys together with the rest of a scenario."""

from __future__ import annotations

from simulator.errors import PlanError
from simulator.plan import ParallelismPlan, TrainingConfig


def check_replicas(plan: ParallelismPlan, training: TrainingConfig) -> None:
    """Checks that an exchange that waits for the backward is modelled with what is beside it.

    Raises:
        PlanError: for the first thing that it is not modelled with.
    """
    if plan.overlap_replicas:
        return
    release = training.gradient_release
    for present, key, what in (
        (plan.offload is not None, "plan.offload", "plan.offload"),
        (not plan.sharding.is_classic, "plan.sharding", f"sharding {plan.sharding.name}"),
        (plan.ep > 1, "plan.ep", f"ep = {plan.ep}"),
        (release != "step", "training.gradient_release", f"gradient_release {release}"),
    ):
        if present:
            raise PlanError(
                f"{what} together with overlap.replicas: false is not modelled",
                where=key,
                hint=f"leave plan.overlap.replicas out, or change {key}",
            )
