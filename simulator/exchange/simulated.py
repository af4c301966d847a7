"""A scenario with ``plan.exchange``: one worker simulated, its exchanges added, one report out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Final, TypeAlias

import numpy as np

from simulator.engine.breakdown import ROUNDING, compute_ops
from simulator.engine.timeline import Timeline
from simulator.exchange.memory import (
    inference_only,
    of_all_workers,
    with_states,
    without_optimizer,
)
from simulator.exchange.policies import POLICIES
from simulator.exchange.program import InnerStep, Program
from simulator.exchange.scalar import forward_s, scalar_flops, scalar_memory, scalar_step
from simulator.exchange.setting import Setting, inner_scenario, policy_of, setting_of
from simulator.exchange.steady import steady_steps_s
from simulator.machine import BYTES_PER_ELEMENT, Assumption
from simulator.numeric import FloatArray, as_float
from simulator.report.report import (
    TIME_TERMS,
    FlopsRates,
    MemoryReport,
    Report,
    StepPattern,
    TierMemory,
)
from simulator.scenario import Scenario
from simulator.workload.op import OpPhase

Plain: TypeAlias = Callable[[Scenario], Report]
"""The report of a scenario without a policy."""
PlainMemory: TypeAlias = Callable[[Scenario], MemoryReport]

SAME_STEP: Final = 1e-6
"""Share by which steps of a pattern may differ and are still shown as one kind."""


def simulate_exchange(scenario: Scenario, plain: Plain) -> Report:
    """The report of a scenario with a policy: step time is the mean of a period.

    Args:
        scenario: checked.
        plain: simulates one without a policy.
    """
    worker = plain(inner_scenario(scenario))
    if policy_of(scenario).policy == "scalar":
        return _scalar_report(scenario, worker)
    row = POLICIES[policy_of(scenario).policy]
    alone = _without_update(worker) if row.updates_elsewhere else worker
    inner = inner_step(alone, scenario.model.num_layers)
    setting = setting_of(scenario, inner)
    program = row.program(setting)
    pattern = _pattern(setting, program, steady_steps_s(inner, program)[0])
    time = _plus(alone.time, {"dp_comm": pattern.exposed_s, "optimizer": pattern.kernels_s})
    share = setting.exchange.warm_up_share
    if share:
        full = plain(replace(scenario, plan=replace(scenario.plan, exchange=None)))
        pattern = replace(pattern, warm_up_share=share, warm_up_step_s=full.step_time_s)
        time = _mixed(share, full.time, time)
    memory = _with_states(alone.memory, scenario, setting)
    changed = replace(worker, time=time, memory=memory)
    return _joined(scenario, worker, changed, pattern, _mean_s(pattern))


def memory_of_exchange(scenario: Scenario, plain: PlainMemory) -> MemoryReport:
    """The memory of a scenario with a policy, without the rest of a report.

    Args:
        scenario: checked.
        plain: memory of one without a policy.
    """
    inner = inner_scenario(scenario)
    memory = plain(inner)
    setting = setting_of(scenario, InnerStep.of_compute(1.0, scenario.model.num_layers))
    if setting.exchange.policy == "scalar":
        terms = scalar_memory(inner, memory.rank_classes[0], setting.parameters)
        return inference_only(memory, terms, scenario.plan.num_devices)
    if POLICIES[setting.exchange.policy].updates_elsewhere:
        memory = without_optimizer(memory)
    return of_all_workers(_with_states(memory, scenario, setting), setting.exchange.workers)


def _without_update(worker: Report) -> Report:
    """A worker's step up to its gradients, without the optimizer and what it keeps."""
    return replace(
        worker,
        step_time_s=worker.step_time_s - worker.time["optimizer"],
        time=dict(worker.time) | {"optimizer": 0.0},
        memory=without_optimizer(worker.memory),
        timeline=None,
    )


def _with_states(memory: MemoryReport, scenario: Scenario, setting: Setting) -> MemoryReport:
    """The memory of a worker's ranks with what the policy keeps, on the device and on the host."""
    row, node = POLICIES[setting.exchange.policy], scenario.cluster.node
    each = row.host_bytes(setting)
    whole = each * setting.between.ranks_per_node
    capacity = node.host_memory.capacity_bytes if node.host_memory else 0.0
    host = TierMemory("host", whole, capacity, {"exchange": whole})
    return with_states(memory, row.state_bytes(setting), each, host)


def inner_step(worker: Report, layers: int) -> InnerStep:
    """The parts of a worker's step, from its timeline."""
    timeline, total = worker.timeline, worker.step_time_s
    if timeline is None:
        return InnerStep(layers, 0.0, total, 0.0, 0.0)
    forward, backward = _first_forward(timeline), _last_backward(timeline)
    tail = max(timeline.makespan_s - backward[1], 0.0)
    seconds = (forward[1] - forward[0], backward[1] - backward[0], tail)
    middle = total - sum(seconds)
    if middle < 0:  # a pipeline's ranks: no part is exchanged by layer there
        return InnerStep(layers, 0.0, total, 0.0, 0.0)
    return InnerStep(layers, seconds[0], middle, seconds[1], seconds[2])


def _first_forward(timeline: Timeline) -> tuple[float, float]:
    """Begin and end of the first microbatch's forward on the first pipeline rank."""
    return _span(timeline, OpPhase.F, first=True)


def _last_backward(timeline: Timeline) -> tuple[float, float]:
    return _span(timeline, OpPhase.B, first=False)


def _span(timeline: Timeline, phase: OpPhase, *, first: bool) -> tuple[float, float]:
    graph, ops = timeline.graph, compute_ops(timeline, 0)
    ops = ops[graph.phase[ops] == phase]
    numbers = graph.microbatch[ops]
    chosen = ops[numbers == (numbers.min() if first else numbers.max())]
    return float(timeline.start_s[chosen].min()), float(timeline.end_s[chosen].max())


def _pattern(setting: Setting, program: Program, steps_s: FloatArray) -> StepPattern:
    kernels_s = sum(t.before_s + t.after_s for t in program.transfers) / program.period
    rounded = np.round(steps_s / setting.inner.seconds / SAME_STEP)
    runs = [list(run) for _, run in groupby(range(steps_s.size), key=lambda i: rounded[i])]
    inner_s = setting.inner.seconds
    exposed_s = float(steps_s.mean()) - inner_s - kernels_s
    return StepPattern(
        policy=setting.exchange.policy,
        workers=setting.exchange.workers,
        steps=tuple((len(run), float(steps_s[run].mean())) for run in runs),
        inner_step_s=inner_s,
        exposed_s=exposed_s if exposed_s > ROUNDING * inner_s else 0.0,
        kernels_s=kernels_s,
        sent_bytes=sum(t.sent_bytes for t in program.transfers) / program.period,
    )


def _mean_s(pattern: StepPattern) -> float:
    """Of all steps, those of the warm-up among them."""
    total = sum(number * each for number, each in pattern.steps)
    mean_s = total / sum(number for number, _ in pattern.steps)
    return pattern.warm_up_share * pattern.warm_up_step_s + (1 - pattern.warm_up_share) * mean_s


def _scalar_report(scenario: Scenario, worker: Report) -> Report:
    assert worker.timeline is not None
    inner = inner_scenario(scenario)
    setting = setting_of(scenario, InnerStep.of_compute(1.0, scenario.model.num_layers))
    weight = BYTES_PER_ELEMENT[scenario.training.precision]
    step = scalar_step(setting, forward_s(worker.timeline), weight)
    # What a step costs beside the model; the forwards bring their own.
    overhead_s = as_float(scenario.stack.step_overhead_s)
    mean_s = step.seconds + overhead_s
    pattern = StepPattern(
        policy="scalar",
        workers=setting.exchange.workers,
        steps=((1, mean_s),),
        inner_step_s=step.forwards_s + overhead_s,
        exposed_s=step.exchange_s,
        kernels_s=step.kernels_s,
        sent_bytes=step.sent_bytes,
    )
    time = dict.fromkeys(worker.time, 0.0) | dict(step.forward_s)
    added = {"dp_comm": step.exchange_s, "optimizer": step.kernels_s, "overhead": overhead_s}
    terms = scalar_memory(inner, worker.memory.rank_classes[0], setting.parameters)
    memory = inference_only(worker.memory, terms, inner.plan.num_devices)
    flops = scalar_flops(worker.flops, setting)
    changed = replace(worker, time=_plus(time, added), memory=memory, kernels=(), flops=flops)
    return _joined(scenario, worker, changed, pattern, mean_s)


def _plus(terms: Mapping[str, float], added: Mapping[str, float]) -> dict[str, float]:
    return {name: value + added.get(name, 0.0) for name, value in terms.items()}


def _mixed(share: float, full: Mapping[str, float], terms: Mapping[str, float]) -> dict[str, float]:
    """Terms of a mean step, of which ``share`` reduce gradients in full."""
    return {
        name: share * full.get(name, 0.0) + (1 - share) * terms.get(name, 0.0)
        for name in TIME_TERMS
        if name in full or name in terms
    }


def _joined(
    scenario: Scenario, worker: Report, changed: Report, pattern: StepPattern, mean_s: float
) -> Report:
    """The report of all workers; rates and ranges are those of the mean step."""
    workers, devices = pattern.workers, scenario.plan.num_devices
    tokens = scenario.training.global_batch_size * scenario.training.seq_length
    slower = worker.step_time_s / mean_s
    rates = {
        name: FlopsRates(
            rate.flops_per_step * workers,
            rate.flops_per_s_per_device * slower,
            rate.utilisation * slower,
        )
        for name, rate in changed.flops.items()
    }
    low, high = worker.step_time_low_s, worker.step_time_high_s
    return replace(
        changed,
        scenario=scenario.normalised,
        step_time_s=mean_s,
        tokens_per_s=tokens / mean_s,
        tokens_per_s_per_device=tokens / mean_s / devices,
        model_flops_per_s_per_device=rates["palm"].flops_per_s_per_device,
        hardware_flops_per_s_per_device=rates["hardware"].flops_per_s_per_device,
        mfu=rates["palm"].utilisation,
        hfu=rates["hardware"].utilisation,
        flops=rates,
        memory=of_all_workers(changed.memory, workers),
        devices=devices,
        assumptions=(*worker.assumptions, _note(scenario)),
        # What a network takes is no better known than what a device does.
        step_time_low_s=None if low is None else low / slower,
        step_time_high_s=None if high is None else high / slower,
        pattern=pattern,
    )


def _note(scenario: Scenario) -> Assumption:
    exchange = policy_of(scenario)
    source = POLICIES[exchange.policy].source if exchange.policy in POLICIES else "arXiv 2305.17333"
    what = f"{exchange.workers} workers in step; the timeline shows one worker by itself"
    if exchange.policy == "scalar":
        what += "; every convention of FLOPs counts the forwards alone"
    return Assumption(f"exchange policy {exchange.policy}", what, source)
