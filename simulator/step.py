"""A scenario as a priced op graph: what the engines run."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np

from simulator.cost.activation import (
    embedding_activation_bytes,
    stage_activation_bytes,
    weight_gradient_held_bytes,
)
from simulator.cost.microbatch import MicrobatchShape
from simulator.cost.output_memory import (
    backward_working_bytes,
    logits_bytes,
    output_activation_bytes,
    output_weight_gradient_held_bytes,
)
from simulator.errors import PlanError
from simulator.host import host_costs, swapping
from simulator.model import num_expert_layers
from simulator.numeric import FloatArray, IntArray, Numeric, whole_ticks
from simulator.plan import (
    expert_group,
    num_microbatches,
    process_group,
    stage_layers,
)
from simulator.scenario import Scenario
from simulator.schedule.action import Schedule
from simulator.schedule.table import build_schedule
from simulator.topology import Topology
from simulator.trained import (
    adapter_width,
    adapters_per_layer,
    gathered_weight_bytes,
    kept_inputs,
    layer_update_s,
    state_bytes_per_parameter,
    tuning_of,
)
from simulator.workload.classes import CostTable
from simulator.workload.data_links import data_links
from simulator.workload.fold import ReplicaClass, fold_replicas
from simulator.workload.linear import Split
from simulator.workload.lower import lower
from simulator.workload.op import OpGraph, OpPhase
from simulator.workload.pass_memory import ActivationBytes
from simulator.workload.price import PriceContext
from simulator.workload.slow_hosts import forward_speeds
from simulator.workload.stage import StageKind, StagePricer
from simulator.workload.step_costs import StepCosts

MAX_SIDE_BY_SIDE = 8
"""Replica classes lowered into one graph; more run as a batch of one replica's graph.

A few stragglers keep their contention for links; with an own speed for every rank the graph would
grow with the ranks.
"""
MAX_SIDE_BY_SIDE_PASSES: Final = 100_000
"""Most forwards and backwards of several replica classes in one graph; more take seconds to run."""


@dataclass(frozen=True, slots=True)
class Step:
    """One training step, ready to run.

    Attributes:
        replicas: classes of data-parallel replicas.
        side_by_side: the graph holds all of them; otherwise it holds one, and they are rows of a
            batch, coupled at their collectives.
        row_graphs: in a batch, the graph of every replica class: as ``graph``, but for the rows of
            the cost table of messages that take another path. Empty when they are side by side.
    """

    scenario: Scenario
    schedule: Schedule
    costs: StepCosts
    graph: OpGraph
    table: CostTable
    replicas: tuple[ReplicaClass, ...]
    side_by_side: bool
    row_graphs: tuple[OpGraph, ...] = ()

    def durations_s(self) -> FloatArray:
        """Seconds of every op, each at its rank's speed.

        Returns:
            [ops], or [replica classes, ops] when the replicas are not side by side.
        """
        streams = self.graph.streams
        rank = np.array([stream.rank for stream in streams])[self.graph.stream]
        replica = np.array([stream.replica for stream in streams])[self.graph.stream]
        which = (replica, rank) if self.side_by_side else (slice(None), rank)
        speeds = np.array([one.speeds for one in self.replicas])[which]
        in_forward = np.array([one.forward_speeds for one in self.replicas])[which]
        speeds = np.where(self.graph.phase == OpPhase.F, speeds * in_forward, speeds)
        if self.side_by_side:
            return self._at(self.graph.op_class, speeds)
        rows = zip(self.row_graphs, speeds, strict=True)
        return np.stack([self._at(graph.op_class, speed) for graph, speed in rows])

    @property
    def uniform(self) -> bool:
        """Whether all ranks run at full speed."""
        return all(
            min(*replica.speeds, *replica.forward_speeds) == 1.0 for replica in self.replicas
        )

    def _at(self, op_class: IntArray, speed: FloatArray) -> FloatArray:
        seconds = self.table.device_s[op_class] / speed + self.table.waiting_s[op_class]
        return whole_ticks(seconds)


def microbatch_shape(scenario: Scenario) -> MicrobatchShape:
    """How a microbatch lies on the ranks."""
    plan, training = scenario.plan, scenario.training
    return MicrobatchShape(
        micro_batch_size=training.micro_batch_size,
        seq_length=training.seq_length,
        tp=plan.tp,
        cp=plan.cp,
        sequence_parallel=plan.sequence_parallel and plan.tp > 1,
        precision=training.precision,
        recasts=scenario.stack.fp8_dynamic,
        capacity_factor=training.capacity_factor,
        cuts_experts=plan.expert_tp > 1,
        kept=kept_inputs(scenario),
        adapter_width=adapter_width(scenario),
    )


def stage_kinds(scenario: Scenario) -> tuple[StageKind, ...]:
    """What every virtual stage holds: embedding on the first, output on the last."""
    layers = stage_layers(scenario.model, scenario.plan)
    ends = list(accumulate(layers))
    last = len(layers) - 1
    return tuple(
        StageKind(
            count, i == 0, i == last, num_expert_layers(scenario.model, ends[i] - count, ends[i])
        )
        for i, count in enumerate(layers)
    )


def pass_activations(scenario: Scenario, kind: StageKind) -> ActivationBytes:
    """Memory that the passes of one microbatch take on a stage."""
    shape = microbatch_shape(scenario)
    sizes = ActivationBytes(*(float(size) for size in activation_sizes(scenario, kind, shape)))
    return swapping(scenario, kind.num_layers, sizes, shape)


def activation_sizes(
    scenario: Scenario, kind: StageKind, shape: MicrobatchShape
) -> tuple[Numeric, Numeric, Numeric]:
    """Bytes held by a microbatch, taken by its backward, and kept for its weight pass."""
    model, stack, recompute = scenario.model, scenario.stack, scenario.training.recompute
    held = stage_activation_bytes(
        model, shape, stack, recompute, kind.num_layers, kind.num_expert_layers
    )
    if kind.has_embedding:
        held = held + embedding_activation_bytes(model, shape, stack)
    if kind.has_output:
        held = held + output_activation_bytes(model, shape) + logits_bytes(model, shape, stack)
    working = _widest(
        backward_working_bytes(
            model, shape, stack, recompute.mode, has_output=kind.has_output, experts=experts
        )
        for experts in kind.layer_kinds
    )
    for_weights = kind.num_dense_layers * weight_gradient_held_bytes(model, shape)
    if kind.num_expert_layers:
        per_layer = weight_gradient_held_bytes(model, shape, experts=True)
        for_weights = for_weights + kind.num_expert_layers * per_layer
    if kind.has_output:
        for_weights = for_weights + output_weight_gradient_held_bytes(model, shape)
    return held, working, for_weights


def _widest(sizes: Iterable[Numeric]) -> Numeric:
    """The largest of some columns, element by element."""
    return functools.reduce(np.maximum, sizes)


def stage_pricer(scenario: Scenario, topology: Topology, *, splits_backward: bool) -> StagePricer:
    """Prices of the passes of the scenario's stages."""
    plan, training, stack = scenario.plan, scenario.training, scenario.stack
    groups = {"tp": process_group(plan, "tp")}
    if plan.ep > 1:
        groups["ep"] = expert_group(plan)
    context = PriceContext(
        accelerator=scenario.cluster.node.accelerator,
        stack=stack,
        precision=training.precision,
        links={
            axis: topology.group_link(group, num_ranks=plan.num_devices)
            for axis, group in groups.items()
        },
    )
    split = Split(
        micro_batch=float(training.micro_batch_size),
        seq_length=training.seq_length,
        tp=plan.tp,
        sequence_parallel=plan.sequence_parallel and plan.tp > 1,
        overlap=plan.overlap_tp,
        backward_overlap=stack.backward_tp_overlap,
        element_bytes=context.activation_bytes,
        tensor_parallel=plan.tp > 1,
        quantises=training.precision == "fp8",
        recasts=stack.fp8_dynamic,
        ep=plan.ep,
        expert_parallel=plan.ep > 1,
        cuts_experts=plan.expert_tp > 1,
        chunked=plan.tp_overlap,
        capacity_factor=training.capacity_factor,
    )
    return StagePricer(
        scenario.model,
        split,
        training.recompute,
        splits_backward,
        context,
        gradient_bytes=training.optimizer.gradient_bytes,
        tuning=tuning_of(scenario),
    )


def data_costs(
    scenario: Scenario, topology: Topology, kinds: tuple[StageKind, ...], pricer: StagePricer
) -> StepCosts:
    """Prices of what happens outside the passes; ``step_costs`` adds what passes hold."""
    plan = scenario.plan
    return StepCosts(
        model=scenario.model,
        plan=plan,
        pricer=pricer,
        links=data_links(plan, scenario.cluster.node, topology),
        kinds=kinds,
        optimizer_state_bytes=state_bytes_per_parameter(scenario),
        adapter_parameters=adapters_per_layer(scenario),
        layer_update_s=layer_update_s(scenario),
        layerwise=scenario.training.gradient_release == "layerwise",
        activations=(),
        gather_bytes=gathered_weight_bytes(scenario),
        gradient_reduce_bytes=scenario.training.optimizer.gradient_reduce_bytes,
    )


def step_costs(
    scenario: Scenario, topology: Topology, schedule: Schedule, *, alone: Topology | None = None
) -> StepCosts:
    """Prices of the scenario's ops.

    Args:
        scenario: what is run.
        topology: what its messages have of the machine.
        schedule: order of its passes.
        alone: what collectives over the replicas have, where who meets them is simulated.
    """
    kinds = stage_kinds(scenario)
    activations = {kind: pass_activations(scenario, kind) for kind in dict.fromkeys(kinds)}
    pricer = stage_pricer(scenario, topology, splits_backward=schedule.splits_backward)
    costs = data_costs(scenario, alone or topology, kinds, pricer)
    costs.ends_share_rank = bool(schedule.stage_rank[0] == schedule.stage_rank[-1])
    costs.activations = tuple(activations[kind] for kind in kinds)
    costs.host = host_costs(scenario, costs.activations)
    return costs


def build_step(scenario: Scenario, *, fold: bool = True, as_batch: bool = False) -> Step:
    """Lowers a scenario.

    Args:
        scenario: checked (``scenario.check``).
        fold: simulate replicas that behave alike once.
        as_batch: one graph per class of replicas, however few there are.

    Raises:
        PlanError: if the plan does not fit the model or the machine.
        ScheduleError: if the schedule cannot run.
    """
    plan = scenario.plan
    if plan.exchange is not None:
        raise PlanError(
            f"exchange policy {plan.exchange.policy} couples steps: there is no single step of it",
            where="plan.exchange",
            hint="'trainsim run' and 'trainsim compare' find the pattern of steps",
        )
    topology = Topology.of(scenario.cluster)
    count = num_microbatches(scenario.training, plan)
    schedule = build_schedule(plan.schedule, plan.pp, count, plan.virtual_stages)
    costs = step_costs(scenario, topology, schedule)
    speeds = dict(scenario.stragglers)
    replicas = fold_replicas(
        plan,
        topology,
        schedule.stage_rank,
        speeds,
        forward_speeds=forward_speeds(scenario.cluster, plan.num_devices),
        fold=fold,
    )
    passes = 2 * schedule.num_stages * count * len(replicas)
    few = len(replicas) <= MAX_SIDE_BY_SIDE and passes <= MAX_SIDE_BY_SIDE_PASSES
    if not as_batch and (len(replicas) == 1 or few or not fold):
        graph = lower(schedule, costs, [replica.paths for replica in replicas])
        return Step(scenario, schedule, costs, graph, costs.table.build(), replicas, True)
    different = dict.fromkeys(replica.paths for replica in replicas)
    graphs = {paths: lower(schedule, costs, [paths]) for paths in different}
    rows = tuple(graphs[replica.paths] for replica in replicas)
    return Step(scenario, schedule, costs, rows[0], costs.table.build(), replicas, False, rows)
