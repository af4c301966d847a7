"""Scenario in, report out: the whole simulator on one screen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from simulator import __version__
from simulator.engine.breakdown import critical_rank, period_s, time_terms
from simulator.engine.maxplus import solve_batch
from simulator.engine.run import Engine, execute
from simulator.engine.timeline import Timeline
from simulator.exchange.simulated import memory_of_exchange, simulate_exchange
from simulator.flops import CONVENTIONS
from simulator.levers import applicable
from simulator.machine import Assumption
from simulator.memory import memory_report
from simulator.model import num_parameters
from simulator.numeric import as_float
from simulator.report.report import (
    RANGE_BASIS,
    RARE_TIME_TERMS,
    SCHEMA_VERSION,
    TIME_TERMS,
    FlopsRates,
    KernelShare,
    MemoryReport,
    Report,
)
from simulator.scenario import Scenario, check
from simulator.schedule.action import Phase
from simulator.step import Step, build_step
from simulator.uncertainty import Setting
from simulator.workload.slow_hosts import slow_host_ids


def simulate(
    scenario: Scenario,
    *,
    engine: Engine = "auto",
    speeds: Mapping[int, float] | None = None,
    fold: bool = True,
    levers: bool = True,
) -> Report:
    """Predicts one training step.

    Args:
        scenario: what is trained, how and on what.
        engine: ``auto`` takes the discrete-event engine where links are shared, max-plus (equal
            and faster) where none is.
        speeds: global rank -> relative speed, beside the scenario's stragglers.
        fold: simulate data-parallel replicas that behave alike once.
        levers: when the job does not fit, find out what would help (a few more simulations).

    Raises:
        PlanError, ScheduleError: if the plan breaks a rule.
    """
    stragglers = (*scenario.stragglers, *(speeds or {}).items())
    scenario = replace(scenario, stragglers=stragglers)
    check(scenario)
    if scenario.plan.exchange is not None:
        return simulate_exchange(
            scenario, lambda plain: simulate(plain, engine=engine, fold=fold, levers=False)
        )
    step = build_step(scenario, fold=fold)
    timeline, table_row = run_step(step, engine)
    memory = memory_report(step, timeline)
    if levers and not memory.fits:
        memory = memory_report(step, timeline, _savings(scenario, memory.peak_bytes))
    return _report(step, timeline, table_row, memory)


def run_step(step: Step, engine: Engine = "auto") -> tuple[Timeline, int]:
    """Executes a step.

    Returns:
        The timeline and the index of the replica class it belongs to: the one with the longest
        step when the replicas are rows of a batch (of equal ones the busiest), else 0.

    Assumes: the replicas of a batch have their links for themselves, a lower bound where
        transfers of one rank meet (``OpGraph.shared_resources``).
    """
    durations = step.durations_s()
    if step.side_by_side:
        return execute(step.graph, durations, engine), 0
    ends = solve_batch(step.graph, durations, couple=True)
    rows = [
        Timeline(graph, end - own, end, engine="maxplus")
        for graph, own, end in zip(step.row_graphs, durations, ends, strict=True)
    ]
    joined = step.schedule.joins_before_optimizer
    paces = [
        (period_s(row, joined=joined), own.sum()) for row, own in zip(rows, durations, strict=True)
    ]
    slowest = max(range(len(rows)), key=paces.__getitem__)
    return rows[slowest], slowest


def memory_of(scenario: Scenario) -> MemoryReport:
    """Memory of a step on every level, without the rest of a report.

    Assumes: sends hold no activations, so the graph without send ops has the same peak.
    """
    if scenario.plan.exchange is not None:
        return memory_of_exchange(scenario, memory_of)
    step = build_step(replace(scenario, plan=replace(scenario.plan, overlap_pp=False)))
    # What leaves the device late is held longer, which only contention tells.
    timeline, _ = run_step(step, "auto" if step.costs.host else "maxplus")
    return memory_report(step, timeline)


def peak_memory_bytes(scenario: Scenario) -> float:
    """Peak of the worst rank, without a report."""
    return memory_of(scenario).peak_bytes


def _savings(scenario: Scenario, peak_bytes: float) -> list[tuple[str, float]]:
    """Levers and what they save; savings of less than a hundredth are no help."""
    saved = [
        (name, peak_bytes - peak_memory_bytes(other))
        for name, other in applicable(scenario).items()
    ]
    return [(name, saving) for name, saving in saved if saving > 0.01 * peak_bytes]


def _report(step: Step, timeline: Timeline, replica_class: int, memory: MemoryReport) -> Report:
    scenario = step.scenario
    training, plan = scenario.training, scenario.plan
    joined = step.schedule.joins_before_optimizer
    step_s = period_s(timeline, joined=joined)
    rank, replica = critical_rank(timeline, joined=joined)
    owner = step.replicas[replica if step.side_by_side else replica_class]
    terms = time_terms(
        timeline,
        step.table,
        rank=rank,
        replica=replica,
        speed=owner.speeds[rank],
        forward_speed=owner.forward_speeds[rank],
        joined=joined,
    )
    tokens = training.global_batch_size * training.seq_length
    rates = _flops_rates(step, step_s)
    low_s, high_s = _range_s(scenario, step_s)
    return Report(
        schema_version=SCHEMA_VERSION,
        scenario=scenario.normalised,
        step_time_s=step_s,
        tokens_per_s=tokens / step_s,
        tokens_per_s_per_device=tokens / step_s / plan.num_devices,
        model_flops_per_s_per_device=rates["palm"].flops_per_s_per_device,
        hardware_flops_per_s_per_device=rates["hardware"].flops_per_s_per_device,
        mfu=rates["palm"].utilisation,
        hfu=rates["hardware"].utilisation,
        flops_convention="palm",
        flops=rates,
        time=_time(terms, always=frozenset({"offload"}) if plan.offload else frozenset()),
        memory=memory,
        devices=plan.num_devices,
        kernels=_kernel_shares(step, rank),
        assumptions=(*_assumptions(scenario), *_slow_notes(scenario), *_engine_notes(step)),
        provenance=_provenance(step, timeline)
        | {"critical_rank": f"pipeline rank {rank}", RANGE_BASIS: _range_basis(scenario)},
        timeline=timeline,
        cluster=step.scenario.cluster,
        step_time_low_s=low_s,
        step_time_high_s=high_s,
    )


def _time(terms: Mapping[str, float], always: frozenset[str]) -> dict[str, float]:
    """Every term of a report in order, rare ones only where they can take time."""
    shown = (frozenset(TIME_TERMS) - RARE_TIME_TERMS) | always
    return {term: terms.get(term, 0.0) for term in TIME_TERMS if term in shown or terms.get(term)}


def setting_of(scenario: Scenario) -> Setting:
    """What the uncertainty of a prediction depends on."""
    return Setting(
        accelerator=scenario.cluster.node.accelerator.name,
        devices=scenario.plan.num_devices,
        parameters=num_parameters(scenario.model),
        seq_length=scenario.training.seq_length,
        micro_batch_size=scenario.training.micro_batch_size,
        has_experts=scenario.model.num_experts > 0,
    )


def _range_s(scenario: Scenario, seconds: float) -> tuple[float | None, float | None]:
    """90 % range of the step time."""
    uncertainty = scenario.stack.uncertainty
    if uncertainty is None:
        return None, None
    return uncertainty.range_s(seconds, setting_of(scenario))


def _range_basis(scenario: Scenario) -> str:
    uncertainty = scenario.stack.uncertainty
    return uncertainty.basis(setting_of(scenario)) if uncertainty else "none"


def executed_flops(step: Step) -> float:
    """Matrix FLOPs that all devices execute in a step, recomputation included."""
    plan = step.scenario.plan
    per_rank = sum(
        float(step.costs.stage_cost(stage, phase).flops)
        for stage in range(step.schedule.num_stages)
        for phase in _phases(step)
    )
    return per_rank * step.schedule.num_microbatches * plan.tp * plan.cp * plan.dp


def _phases(step: Step) -> tuple[Phase, ...]:
    return tuple(Phase) if step.schedule.splits_backward else (Phase.F, Phase.B)


def _flops_rates(step: Step, step_s: float) -> dict[str, FlopsRates]:
    scenario = step.scenario
    training, devices = scenario.training, scenario.plan.num_devices
    peak = scenario.cluster.node.accelerator.peak_flops_per_s[training.precision]
    counts = {
        name: count(scenario.model, training.global_batch_size, training.seq_length)
        for name, count in CONVENTIONS.items()
    } | {"hardware": executed_flops(step)}
    return {
        name: FlopsRates(flops, flops / step_s / devices, flops / step_s / devices / peak)
        for name, flops in counts.items()
    }


def _kernel_shares(step: Step, rank: int) -> tuple[KernelShare, ...]:
    """Kernels of one rank over the step by family, longest first."""
    sums: dict[str, list[float]] = {}
    for stage in np.flatnonzero(step.schedule.stage_rank == rank).tolist():
        for phase in _phases(step):
            for cost, count in step.costs.stage_cost(stage, phase).kernels:
                times = as_float(count) * step.schedule.num_microbatches
                row = sums.setdefault(cost.family, [0.0, 0.0, 0.0])
                for i, value in enumerate((cost.total_s, cost.flops, cost.moved_bytes)):
                    row[i] += float(value) * times
    shares = [KernelShare(name, *row) for name, row in sums.items() if row[0] > 0]
    return tuple(sorted(shares, key=lambda share: (-share.time_s, share.name)))


def _assumptions(scenario: Scenario) -> tuple[Assumption, ...]:
    cluster = scenario.cluster
    taken = (
        *scenario.assumptions,
        *cluster.node.accelerator.assumptions,
        *cluster.node.assumptions,
        *cluster.assumptions,
        *sorted(scenario.stack.assumptions, key=lambda note: note.name),
    )
    return tuple(dict.fromkeys(taken))


def _slow_notes(scenario: Scenario) -> tuple[Assumption, ...]:
    cluster, devices = scenario.cluster, scenario.plan.num_devices
    hosts = slow_host_ids(cluster, devices)
    if cluster.slow_hosts is None or not hosts:
        return ()
    times = f"{cluster.slow_hosts.forward:g} times as long"
    note = f"{len(hosts)} of the hosts, spread over all, take {times} for a forward"
    return (Assumption("slow hosts", note, f"cluster {cluster.name}: the expected number"),)


def _engine_notes(step: Step) -> tuple[Assumption, ...]:
    if step.side_by_side or not step.graph.has_shared_resources:
        return ()
    note = "lower bound: many classes of replicas run as a batch, without contention for links"
    return (Assumption("engine", note, "docs/decisions/0006-replicas-fold.md"),)


def _provenance(step: Step, timeline: Timeline) -> dict[str, str]:
    text = json.dumps(step.scenario.normalised, sort_keys=True)
    return {
        "version": __version__,
        "engine": timeline.engine,
        "ops": str(step.graph.num_ops),
        "op_classes": str(len(step.table.names)),
        "replica_classes": str(len(step.replicas)),
        "scenario_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
