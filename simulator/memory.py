"""Memory of every class of ranks at its high-water mark, by term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from simulator.cost.footprint import (
    BufferBytes,
    StateBytes,
    buffer_bytes,
    bytes_per_weight,
    largest_parameter,
    limited_buffers,
    mean_layer_parameters,
    model_state_bytes,
    norm_workspace_bytes,
)
from simulator.cost.output_memory import logits_bytes
from simulator.engine.highwater import HighWater, high_water, rank_ops
from simulator.engine.timeline import Timeline
from simulator.machine import BYTES_PER_ELEMENT
from simulator.memory_tiers import Elsewhere, merged, spread, swapped_out, tier_memories
from simulator.numeric import IntArray, Numeric
from simulator.plan import ParallelismPlan, reduces_every_microbatch
from simulator.report.report import MemoryReport, OutOfMemory, RankMemory, TierMemory
from simulator.scenario import Scenario
from simulator.schedule.action import Phase, Schedule
from simulator.schedule.analysis import peak_open
from simulator.shard_groups import shard_sizes
from simulator.step import Step, microbatch_shape
from simulator.trained import trained_buffers, trained_states
from simulator.workload.step_costs import StepCosts


@dataclass(frozen=True, slots=True)
class RankStatic:
    """What a rank holds beside activations.

    Attributes:
        norm_workspace: of the gradient norm, before the optimizer's own copies.
        intermediates: of the optimizer's kernels, beside its copies of gradients.
        workspaces: of libraries, always.
        flat_optimizer: what the optimizer step takes stays reserved, in the allocator's cache,
            during the passes, too.
        elsewhere: tier -> term -> bytes that live there on behalf of the rank.
    """

    states: StateBytes
    buffers: BufferBytes
    norm_workspace: float
    intermediates: float
    workspaces: float
    flat_optimizer: bool
    framework: float
    communicators: float
    elsewhere: Elsewhere = field(default_factory=dict[str, Mapping[str, float]])

    @property
    def during_passes(self) -> float:
        """Buffers beside the activations of forwards and backwards."""
        kept = self.optimizer_step if self.flat_optimizer else 0.0
        return float(self.buffers.during_passes) + self.workspaces + kept

    @property
    def in_optimizer(self) -> float:
        """Buffers of the optimizer step, when no activations are held."""
        return self.workspaces + self.optimizer_step

    @property
    def optimizer_step(self) -> float:
        """Copies that the optimizer step makes."""
        return max(float(self.buffers.optimizer_step) + self.intermediates, self.norm_workspace)


def memory_report(
    step: Step, timeline: Timeline, levers: Sequence[tuple[str, float]] = ()
) -> MemoryReport:
    """Memory of every pipeline rank over the step.

    Args:
        step: what ran.
        timeline: when it ran.
        levers: (change, bytes it saves), for the explanation when it does not fit.
    """
    plan = step.scenario.plan
    capacity = step.scenario.cluster.node.accelerator.memory_bytes
    per_rank = plan.num_devices // plan.pp
    classes = tuple(
        _rank_memory(step, timeline, rank, per_rank, ops)
        for rank, ops in enumerate(rank_ops(timeline.graph))
    )
    worst = max(classes, key=lambda memory: memory.peak_bytes)
    tiers = tier_memories(step, [memory.elsewhere for memory in classes])
    fits = worst.peak_bytes <= capacity and all(tier.fits for tier in tiers)
    return MemoryReport(
        fits=fits,
        capacity_bytes=capacity,
        peak_bytes=worst.peak_bytes,
        worst_rank_class=worst.rank_class,
        rank_classes=classes,
        out_of_memory=None if fits else _out_of_memory(worst, capacity, tiers, levers),
        tiers=tiers,
    )


def rank_static(
    scenario: Scenario, costs: StepCosts, stages: Sequence[int], whole_parameters: float
) -> RankStatic:
    """What a pipeline rank holds beside activations.

    Args:
        scenario: for its plan, stack and optimizer.
        costs: knows the parameters of every stage.
        stages: that the rank holds.
        whole_parameters: those whose sharded gradients are whole at once.
    """
    plan, stack = scenario.plan, scenario.stack
    weight_bytes = bytes_per_weight(scenario.training.precision, fp8_only=stack.fp8_weights)
    parameters = costs.held_parameters(tuple(stages))
    share = costs.trained_parameters(tuple(stages)) / parameters if parameters else 1.0
    states = _states(scenario, costs, tuple(stages), whole_parameters * share, weight_bytes)
    kinds = [costs.kinds[stage] for stage in stages]
    largest = largest_parameter(
        scenario.model,
        plan.tp,
        has_table=any(kind.has_embedding or kind.has_output for kind in kinds),
        etp=plan.expert_tp,
    )
    norm_workspace, intermediates = _step_workspace(scenario, costs, stages, largest)
    num_communicators = sum(size > 1 for size in (plan.tp, plan.cp, plan.dp, plan.pp, plan.ep))
    buffers = _buffers(scenario, costs, tuple(stages), float(largest), weight_bytes)
    buffers = trained_buffers(scenario, buffers, share)
    elsewhere: Elsewhere = {}
    if costs.host is not None:
        states, buffers, elsewhere = spread(scenario, costs, costs.host, stages, states, buffers)
    return RankStatic(
        states,
        buffers,
        norm_workspace,
        intermediates,
        stack.workspace_bytes,
        stack.flat_optimizer,
        stack.framework_bytes,
        num_communicators * stack.communicator_bytes,
        elsewhere,
    )


def _step_workspace(
    scenario: Scenario, costs: StepCosts, stages: Sequence[int], largest: Numeric
) -> tuple[float, float]:
    """What the optimizer step on the device takes: for the norm of gradients, and intermediates."""
    plan, stack = scenario.plan, scenario.stack
    shard_size, trained = costs.shard_size(stages), costs.trained_parameters(stages)
    on_device = 1.0 if costs.host is None else costs.host.offload.optimizer.share("device")
    for_norm = norm_workspace_bytes(
        trained,
        largest,
        policy=plan.sharding,
        shard_size=shard_size,
        copy_bytes=stack.norm_copy_bytes,
    )
    stepped = trained / shard_size if plan.sharding.shard_optimizer else trained
    return float(for_norm * on_device), stepped * on_device * stack.optimizer_intermediate_bytes


def _states(
    scenario: Scenario,
    costs: StepCosts,
    stages: tuple[int, ...],
    whole_parameters: float,
    weight_bytes: float,
) -> StateBytes:
    """Model states of a pipeline rank on its device, as if nothing were at home elsewhere."""
    plan, optimizer = scenario.plan, scenario.training.optimizer
    precision, shard_size = scenario.training.precision, costs.shard_size(stages)
    copied = precision == "bf16" and scenario.stack.bf16_gradient_copy
    # One group: experts that fewer ranks hold are in its mean size, and in no other policy's.
    one_group = plan.sharding.is_classic
    sizes = None if one_group else shard_sizes(plan, scenario.cluster.node)
    states = model_state_bytes(
        costs.held_parameters(stages),
        policy=plan.sharding,
        shard_size=shard_size,
        optimizer=optimizer,
        weight_bytes=weight_bytes,
        gradient_copy_bytes=BYTES_PER_ELEMENT[precision] if copied else 0.0,
        sizes=sizes,
    )
    states = trained_states(scenario, costs, stages, states)
    gradient_size = shard_size if sizes is None else sizes.gradients
    whole = whole_parameters * optimizer.gradient_bytes * (1 - 1 / gradient_size)
    return replace(states, gradients=states.gradients + whole)


def _whole_gradients(
    plan: ParallelismPlan, schedule: Schedule, costs: StepCosts, rank: int
) -> float:
    """Gradients that a policy which shards them holds whole, because microbatches add up in them.

    A stage's gradients leave for their shards after its last microbatch.
    Source: PyTorch, distributed/pipelining/stage.py, ``backward_maybe_with_nosync``.
    """
    if not plan.sharding.shard_gradients or reduces_every_microbatch(plan):
        return 0.0
    sizes = [costs.held_parameters((stage,)) for stage in range(schedule.num_stages)]
    return peak_open(schedule, rank, np.array(sizes))


def _buffers(
    scenario: Scenario,
    costs: StepCosts,
    stages: tuple[int, ...],
    largest: float,
    weight_bytes: float,
) -> BufferBytes:
    """Buffers of the sharding policy, as far as the stack fills them."""
    plan, stack = scenario.plan, scenario.stack
    num_layers = costs.num_layers(stages)
    with_experts = sum(costs.kinds[stage].num_expert_layers for stage in stages)
    one_layer = mean_layer_parameters(
        scenario.model, num_layers, with_experts, tp=plan.tp, etp=plan.expert_tp, ep=plan.ep
    )
    whole = buffer_bytes(
        costs.held_parameters(stages),
        one_layer,
        num_layers,
        plan=plan,
        shard_size=costs.shard_size(stages),
        optimizer=scenario.training.optimizer,
        weight_bytes=weight_bytes,
    )
    if not stack.live_parameters:
        return whole
    return limited_buffers(
        whole,
        largest,
        live_parameters=stack.live_parameters,
        weight_bytes=weight_bytes,
        bucket_bytes=plan.bucket_bytes * (1 + plan.overlap_dp),
    )


def _rank_memory(
    step: Step, timeline: Timeline, rank: int, num_ranks: int, ops: IntArray
) -> RankMemory:
    stages = np.flatnonzero(step.schedule.stage_rank == rank).tolist()
    whole = _whole_gradients(step.scenario.plan, step.schedule, step.costs, rank)
    static = rank_static(step.scenario, step.costs, stages, whole)
    water = high_water(timeline, step.table.alloc_bytes, step.table.free_bytes, rank=rank, ops=ops)
    in_passes = water.peak_bytes + static.during_passes >= static.in_optimizer
    activations = water.peak_bytes if in_passes else 0.0
    logits = _held_logits(step, timeline, rank, water) if in_passes else 0.0
    allocated = {
        "weights": float(static.states.weights),
        "gradients": float(static.states.gradients),
        "optimizer": float(static.states.optimizer),
        "master_weights": float(static.states.master_weights),
        "activations": activations - logits,
        "logits": logits,
        "buffers": static.during_passes if in_passes else static.in_optimizer,
    }
    comes_and_goes = activations + allocated["buffers"]
    terms = allocated | {
        "framework": static.framework,
        "communicators": static.communicators,
        "fragmentation": step.scenario.stack.fragmentation * comes_and_goes,
    }
    grows = 1.0 + step.scenario.stack.fragmentation
    always = sum(terms.values()) - comes_and_goes * grows
    in_use = [always + grows * (held + static.during_passes) for held in water.history_bytes]
    return RankMemory(
        rank_class=f"pipeline rank {rank}",
        num_ranks=num_ranks,
        peak_bytes=sum(terms.values()),
        peak_at_s=water.peak_at_s if in_passes else timeline.makespan_s,
        inflight_microbatches=float(water.inflight) / step.schedule.num_chunks,
        terms=terms,
        history_s=(*water.history_s, timeline.makespan_s),
        history_bytes=(*in_use, always + grows * static.in_optimizer),
        elsewhere=merged(static.elsewhere, swapped_out(step, rank)),
    )


def _held_logits(step: Step, timeline: Timeline, rank: int, water: HighWater) -> float:
    """Bytes of logits among the activations at the peak: those of microbatches on the output."""
    last = step.schedule.num_stages - 1
    if step.schedule.stage_rank[last] != rank:
        return 0.0
    graph = timeline.graph
    on_output = graph.stage == last
    begun = on_output & (graph.phase == Phase.F) & (timeline.start_s <= water.peak_at_s)
    ended = on_output & (graph.phase == Phase.B) & (timeline.end_s <= water.peak_at_s)
    begun_microbatches = np.unique(graph.microbatch[begun]).size
    ended_microbatches = np.unique(graph.microbatch[ended]).size
    shape = microbatch_shape(step.scenario)
    one = float(logits_bytes(step.scenario.model, shape, step.scenario.stack))
    return max(begun_microbatches - ended_microbatches, 0) * one


def _out_of_memory(
    worst: RankMemory,
    capacity: float,
    tiers: Sequence[TierMemory],
    levers: Sequence[tuple[str, float]],
) -> OutOfMemory:
    """The first level that is too small: the device, host memory, NVMe."""
    if worst.peak_bytes <= capacity:
        tier = next(tier for tier in tiers if not tier.fits)
        largest = max(tier.terms, key=lambda term: tier.terms[term])
        return OutOfMemory(tier.demand_bytes, tier.capacity_bytes, largest, (), tier.name)
    return OutOfMemory(
        demand_bytes=worst.peak_bytes,
        capacity_bytes=capacity,
        largest_term=max(worst.terms, key=lambda term: worst.terms[term]),
        levers=tuple(sorted(levers, key=lambda lever: -lever[1])),
    )
