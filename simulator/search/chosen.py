"""Candidates that someone names, as rows of the same columns as those of a space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace

import numpy as np

from simulator.errors import PlanError
from simulator.plan import ParallelismPlan, num_microbatches
from simulator.scenario import Scenario
from simulator.search.space import (
    RECOMPUTE_MODES,
    SCHEDULE_NAMES,
    SHARDING_NAMES,
    Candidates,
    candidate_scenario,
    stage_split,
)
from simulator.search.supported import check_searchable

_PARTS = ("model", "training", "plan", "cluster", "stack", "stragglers")


def chosen_candidates(base: Scenario, plans: Sequence[Scenario]) -> Candidates:
    """Scenarios as candidates of a search from ``base``, in their order.

    Args:
        base: what candidates do not say.
        plans: scenarios that differ from ``base`` in nothing else than candidates do.

    Raises:
        PlanError: if one differs elsewhere, or is a plan that a search has no form for.
    """
    rows = [_expressed(base, plan) for plan in plans]
    return _table(rows)


def _expressed(base: Scenario, plan: Scenario) -> dict[str, int]:
    """The columns of one scenario; made a scenario again they must give the same."""
    # A name says nothing of what is trained.
    wanted = replace(effective(plan), model=replace(plan.model, name=base.model.name))
    row = _columns(base, wanted)
    again = candidate_scenario(base, _table([row]), 0)
    for part in _PARTS:
        given, made = getattr(wanted, part), getattr(again, part)
        if given != made:
            raise PlanError(
                f"{plan.name} is no candidate of a search from {base.name}: "
                + _difference(part, given, made),
                where=part,
                hint="name scenarios that differ only in what a search varies",
            )
    return row


def effective(scenario: Scenario) -> Scenario:
    """The scenario with switches that have no effect off, and an even split not written out."""
    plan = scenario.plan
    even = plan.layers_per_stage is not None and len(set(plan.layers_per_stage)) == 1
    return replace(
        scenario,
        plan=replace(
            plan,
            layers_per_stage=None if even else plan.layers_per_stage,
            sequence_parallel=plan.sequence_parallel and plan.tp > 1,
            overlap_tp=plan.overlap_tp and plan.tp > 1,
            overlap_dp=plan.overlap_dp and plan.dp > 1,
            overlap_pp=plan.overlap_pp and plan.pp > 1,
        ),
    )


def _columns(base: Scenario, scenario: Scenario) -> dict[str, int]:
    check_searchable(scenario)
    plan, training = scenario.plan, scenario.training
    mode = training.recompute.mode
    if mode not in RECOMPUTE_MODES:
        raise PlanError(
            f"{scenario.name}: recompute mode {mode} is not searched",
            where="training.recompute.mode",
        )
    if plan.sharding.name not in SHARDING_NAMES:
        raise PlanError(
            f"{scenario.name}: sharding {plan.sharding.name} is not searched",
            where="plan.sharding",
            hint=f"these are: {', '.join(SHARDING_NAMES)}",
        )
    return {
        "tp": plan.tp,
        "pp": plan.pp,
        "dp": plan.dp,
        "virtual_stages": plan.virtual_stages,
        "schedule": SCHEDULE_NAMES.index(plan.schedule),
        "balanced": int(_is_balanced(base, plan)),
        "micro_batch_size": training.micro_batch_size,
        "microbatches": num_microbatches(training, plan),
        "sharding": SHARDING_NAMES.index(plan.sharding.name),
        "recompute": RECOMPUTE_MODES.index(mode),
        "recompute_layers": training.recompute.num_layers or 0,
        "sequence_parallel": int(plan.sequence_parallel),
        "overlap_tp": int(plan.overlap_tp),
        "overlap_dp": int(plan.overlap_dp),
        "overlap_pp": int(plan.overlap_pp),
    }


def _is_balanced(base: Scenario, plan: ParallelismPlan) -> bool:
    """Whether the layers are split in the second way that candidates can be; see ``Candidates``."""
    given = plan.layers_per_stage
    return given is not None and given == stage_split(base, plan.num_stages, balanced=True)


def _table(rows: Sequence[dict[str, int]]) -> Candidates:
    names = [field.name for field in fields(Candidates)]
    return Candidates(
        **{name: np.array([row[name] for row in rows], dtype=np.int64) for name in names}
    )


def _difference(part: str, given: object, made: object) -> str:
    """The first field that differs, for a message."""
    if is_dataclass(given):
        for field in fields(given):
            if getattr(given, field.name) != getattr(made, field.name):
                return f"{part}.{field.name} is another"
    return f"its {part} is another"
