"""Rules that ``plan.tp_overlap`` obeys together with the machine."""

from __future__ import annotations

from simulator.errors import PlanError
from simulator.machine import Accelerator
from simulator.plan import ParallelismPlan


def check_tp_overlap(plan: ParallelismPlan, accelerator: Accelerator) -> None:
    """Checks that a communication kernel leaves the product some SMs.

    Raises:
        PlanError: if it takes them all.
    """
    how = plan.tp_overlap
    if how is None or how.mode != "sm" or how.communication_sms < accelerator.num_sms:
        return
    raise PlanError(
        f"communication_sms {how.communication_sms} leaves no SM of the "
        f"{accelerator.num_sms} of {accelerator.name} to the product",
        where="plan.tp_overlap.communication_sms",
        hint=f"take fewer than {accelerator.num_sms}",
    )
