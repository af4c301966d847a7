"""Changes of a plan that would lower its memory, for a job that does not fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from simulator.errors import TrainsimError
from simulator.plan import Recompute
from simulator.scenario import Scenario, check
from simulator.sharding import SHARDING


def _shard_optimizer(scenario: Scenario) -> Scenario:
    if scenario.plan.sharding.shard_optimizer:
        return scenario
    return replace(scenario, plan=replace(scenario.plan, sharding=SHARDING["zero1"]))


def _shard_everything(scenario: Scenario) -> Scenario:
    return replace(scenario, plan=replace(scenario.plan, sharding=SHARDING["zero3"]))


def _recompute_core(scenario: Scenario) -> Scenario:
    """Flash attention keeps almost nothing of its core, so there it would not help."""
    if scenario.stack.attention != "unfused" or scenario.training.recompute.mode != "none":
        return scenario
    return replace(scenario, training=replace(scenario.training, recompute=Recompute("selective")))


def _recompute_layers(scenario: Scenario) -> Scenario:
    return replace(scenario, training=replace(scenario.training, recompute=Recompute("full")))


def _halve_micro_batch(scenario: Scenario) -> Scenario:
    half = scenario.training.micro_batch_size // 2
    return replace(scenario, training=replace(scenario.training, micro_batch_size=half))


def _sequence_parallel(scenario: Scenario) -> Scenario:
    return replace(scenario, plan=replace(scenario.plan, sequence_parallel=True))


def _double_tp(scenario: Scenario) -> Scenario:
    plan = scenario.plan
    if plan.dp % 2:
        return scenario
    return replace(scenario, plan=replace(plan, tp=plan.tp * 2, dp=plan.dp // 2))


def _double_pp(scenario: Scenario) -> Scenario:
    plan = scenario.plan
    if plan.dp % 2 or plan.layers_per_stage is not None:
        return scenario
    return replace(scenario, plan=replace(plan, pp=plan.pp * 2, dp=plan.dp // 2))


def _one_f_one_b(scenario: Scenario) -> Scenario:
    if scenario.plan.layers_per_stage is not None:
        return scenario
    return replace(scenario, plan=replace(scenario.plan, schedule="1f1b", virtual_stages=1))


def _shard_over_all(scenario: Scenario) -> Scenario:
    return replace(scenario, plan=replace(scenario.plan, shard_group_size=None))


def _spread_experts(scenario: Scenario) -> Scenario:
    """Experts over as many replicas as can share them."""
    plan = scenario.plan
    if not scenario.model.num_experts:
        return scenario
    most = math.gcd(scenario.model.num_experts, plan.dp)
    return replace(scenario, plan=replace(plan, ep=max(most, plan.ep)))


LEVERS: Final[Mapping[str, Callable[[Scenario], Scenario]]] = {
    "training.recompute: selective": _recompute_core,
    "training.recompute: full": _recompute_layers,
    "plan.sharding: zero1": _shard_optimizer,
    "plan.sharding: zero3": _shard_everything,
    "half the training.micro_batch_size": _halve_micro_batch,
    "plan.sequence_parallel: true": _sequence_parallel,
    "plan.shard_group_size: all replicas": _shard_over_all,
    "plan.schedule: 1f1b": _one_f_one_b,
    "plan.ep: as many as can share the experts": _spread_experts,
    "twice the plan.tp, half the plan.dp": _double_tp,
    "twice the plan.pp, half the plan.dp": _double_pp,
}
"""Change -> the changed scenario; some do not apply to every scenario."""


def applicable(scenario: Scenario) -> Mapping[str, Scenario]:
    """The levers that give another, valid scenario."""
    changed: dict[str, Scenario] = {}
    for name, pull in LEVERS.items():
        other = pull(scenario)
        if other.training.micro_batch_size < 1 or other.plan.dp < 1 or other == scenario:
            continue
        try:
            check(other)
        except TrainsimError:
            continue  # this lever does not apply: it breaks a rule of the plan
        changed[name] = other
    return changed
