"""Rules that ``plan.tp_overlap`` obeys together with the machine."""

from __future__ import annotations

from simulator.errors import PlanError
from simulator.machine import Accelerator
from simulator.plan import ParallelismPlan


def check_tp_overlap(plan: ParallelismPlan, accelerator: Accelerator) -> None:
    """Checks that there is something to overlap, and with what.

    Raises:
        PlanError: without tensor parallelism, or if a communication kernel takes all SMs.
    """
    how = plan.tp_overlap
    if how is None:
        return
    if plan.tp == 1:
        raise PlanError(
            f"tp_overlap {how.mode} with tp = 1: there is nothing to overlap",
            where="plan.tp_overlap",
            hint="leave it out, or take plan.tp of 2 or more",
        )
    if how.mode == "sm" and accelerator.architecture == "tpu":
        raise PlanError(
            f"tp_overlap sm on {accelerator.name}, whose links take no multiprocessors",
            where="plan.tp_overlap.mode",
            hint="take mode dma",
        )
    if how.mode != "sm" or how.communication_sms < accelerator.num_sms:
        return
    raise PlanError(
        f"communication_sms {how.communication_sms} leaves no SM of the "
        f"{accelerator.num_sms} of {accelerator.name} to the product",
        where="plan.tp_overlap.communication_sms",
        hint=f"take fewer than {accelerator.num_sms}",
    )
