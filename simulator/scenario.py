"""One training job on one machine, complete: every value it needs, nothing taken for granted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from simulator.batch_policy import AutoFit
from simulator.errors import PlanError
from simulator.exchange_rules import check_exchange
from simulator.expert_rules import check_experts
from simulator.machine import Assumption, Cluster
from simulator.model import TransformerConfig, num_expert_layers
from simulator.offload_rules import check_offload
from simulator.plan import ParallelismPlan, TrainingConfig, divisors, num_microbatches, stage_layers
from simulator.replica_rules import check_replicas
from simulator.schedule.table import build_schedule
from simulator.shard_groups import check_levels
from simulator.stack import Stack
from simulator.tp_overlap_rules import check_tp_overlap
from simulator.trained_rules import check_trained

AXES: Final = ("tp", "cp", "dp", "pp")
MAX_DEVICES: Final = 1_000_000
"""Largest machine that is simulated; the largest published run uses 0.1 million devices."""
MAX_ACTIONS: Final = 4_000_000
"""Most forwards and backwards of one step over all stages; above it memory would not suffice."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is trained, how, and on what.

    Attributes:
        normalised: the whole scenario as JSON data with every default filled in (for the report).
        assumptions: values that were taken because the input did not give them.
        stragglers: (rank, relative speed) of ranks that are slower than the others.
        auto_fit: how the microbatch was chosen that the training holds; None if it was given.
    """

    name: str
    model: TransformerConfig
    training: TrainingConfig
    plan: ParallelismPlan
    cluster: Cluster
    stack: Stack
    normalised: Mapping[str, object]
    assumptions: tuple[Assumption, ...]
    stragglers: tuple[tuple[int, float], ...] = ()
    auto_fit: AutoFit | None = None


def check(scenario: Scenario) -> None:
    """Checks that the parts of a scenario fit one another.

    Raises:
        PlanError: for the first broken rule, with all operands and what would be right.
        ScheduleError: if the pipeline schedule cannot run this many stages or microbatches.
    """
    _check_positive(scenario)
    _check_modelled(scenario.plan)
    _check_precision(scenario)
    _check_axis_order(scenario.plan)
    _check_devices(scenario)
    _check_tensor_parallel(scenario)
    check_experts(scenario.model, scenario.plan, scenario.training, scenario.stack)
    _check_batch(scenario)
    _check_sharding(scenario.plan)
    check_levels(scenario.plan, scenario.cluster.node, listed_weights=scenario.stack.listed_weights)
    check_offload(scenario.model, scenario.training, scenario.plan, scenario.cluster.node)
    check_replicas(scenario.plan, scenario.training)
    check_tp_overlap(scenario.plan, scenario.cluster.node.accelerator)
    stage_layers(scenario.model, scenario.plan)
    check_exchange(
        scenario.model,
        scenario.training,
        scenario.plan,
        has_stragglers=bool(scenario.stragglers),
    )
    _check_recompute(scenario)
    _check_schedule(scenario)
    _check_stragglers(scenario)


def _check_positive(scenario: Scenario) -> None:
    plan, training = scenario.plan, scenario.training
    counts = {
        "plan.tp": plan.tp,
        "plan.cp": plan.cp,
        "plan.dp": plan.dp,
        "plan.pp": plan.pp,
        "plan.ep": plan.ep,
        "plan.virtual_stages": plan.virtual_stages,
        "training.global_batch_size": training.global_batch_size,
        "training.micro_batch_size": training.micro_batch_size,
        "training.seq_length": training.seq_length,
    }
    for place, count in counts.items():
        if count < 1:
            name = place.rpartition(".")[2]
            raise PlanError(f"{name} = {count} is not at least 1", where=place, hint="take 1")


def _check_modelled(plan: ParallelismPlan) -> None:
    if plan.cp != 1:
        raise PlanError(
            f"cp = {plan.cp}: context parallelism is not modelled yet",
            where="plan.cp",
            hint="set plan.cp: 1",
        )


def _check_precision(scenario: Scenario) -> None:
    accelerator = scenario.cluster.node.accelerator
    if scenario.training.precision not in accelerator.peak_flops_per_s:
        raise PlanError(
            f"accelerator {accelerator.name} has no precision '{scenario.training.precision}'",
            where="training.precision",
            hint=f"it has {', '.join(accelerator.peak_flops_per_s)}",
        )


def _check_axis_order(plan: ParallelismPlan) -> None:
    order = plan.axis_order
    if sorted(order) != sorted(AXES):
        raise PlanError(
            f"axis_order {list(order)} is not an order of the axes {', '.join(AXES)}",
            where="plan.axis_order",
            hint=f"write each axis once, fastest-varying first: [{', '.join(AXES)}]",
        )
    if abs(order.index("cp") - order.index("dp")) != 1:
        raise PlanError(
            f"cp and dp are not neighbours in axis_order {list(order)}",
            where="plan.axis_order",
            hint="gradients are reduced over cp and dp together: put them side by side",
        )


def _check_devices(scenario: Scenario) -> None:
    """The plan may use fewer devices than there are: it then takes the first ones."""
    plan, cluster = scenario.plan, scenario.cluster
    product = f"tp * cp * dp * pp = {plan.tp} * {plan.cp} * {plan.dp} * {plan.pp}"
    if plan.num_devices > cluster.num_devices:
        raise PlanError(
            f"{product} = {plan.num_devices} devices, but {cluster.name} has "
            f"{cluster.num_nodes} nodes * {cluster.node.num_devices} = {cluster.num_devices}",
            where="plan",
            hint="lower a degree, or leave plan.dp out to use the devices there are",
        )
    if plan.num_devices > MAX_DEVICES:
        raise PlanError(
            f"{product} = {plan.num_devices} devices is more than {MAX_DEVICES:,}",
            where="plan",
            hint="lower plan.dp",
        )


def _check_tensor_parallel(scenario: Scenario) -> None:
    model, tp = scenario.model, scenario.plan.tp
    heads, groups = model.num_attention_heads, model.num_query_groups
    if heads % tp:
        raise PlanError(
            f"num_attention_heads {heads} of {model.name} is not divisible by tp = {tp}",
            where="plan.tp",
            hint=f"tp may be {_listed(divisors(heads))}",
        )
    # With more ranks than key/value heads, every head is kept by tp / groups ranks.
    if groups % tp and tp % groups:
        fitting = tuple(t for t in divisors(heads) if groups % t == 0 or t % groups == 0)
        raise PlanError(
            f"tp = {tp} neither divides num_query_groups {groups} of {model.name} "
            "nor is a multiple of it",
            where="plan.tp",
            hint=f"tp may be {_listed(fitting)}",
        )
    if model.ffn_hidden_size % tp and num_expert_layers(model) < model.num_layers:
        raise PlanError(
            f"ffn_hidden_size {model.ffn_hidden_size} of {model.name} "
            f"is not divisible by tp = {tp}",
            where="plan.tp",
            hint=f"tp may be {_listed(divisors(model.ffn_hidden_size))}",
        )


def _check_batch(scenario: Scenario) -> None:
    training, plan = scenario.training, scenario.plan
    per_pass = plan.dp * training.micro_batch_size
    if training.global_batch_size % per_pass:
        raise PlanError(
            f"global_batch_size {training.global_batch_size} is not divisible by "
            f"dp * micro_batch_size = {plan.dp} * {training.micro_batch_size} = {per_pass}",
            where="training.global_batch_size",
            hint=f"take a multiple of {per_pass}, or another dp or micro_batch_size",
        )
    _check_sequence_parallel(scenario)
    rows = scenario.model.max_position_embeddings
    if scenario.model.position_embedding == "learned" and 0 < rows < training.seq_length:
        raise PlanError(
            f"seq_length {training.seq_length} exceeds the {rows} learned positions of "
            f"{scenario.model.name}",
            where="training.seq_length",
            hint=f"set model.max_position_embeddings: {training.seq_length}",
        )


def _check_sequence_parallel(scenario: Scenario) -> None:
    """Activations outside the tensor-parallel region are split by tokens, or else by features.

    Tokens: Korthikanti et al. 2022. Features: PaLM (arXiv 2204.02311), section 4; same volumes.
    """
    plan, tokens = scenario.plan, scenario.training.seq_length // scenario.plan.cp
    if plan.sequence_parallel and tokens % plan.tp and scenario.model.hidden_size % plan.tp:
        raise PlanError(
            f"neither seq_length / cp = {tokens} nor hidden_size {scenario.model.hidden_size} "
            f"is divisible by tp = {plan.tp}, as sequence_parallel needs",
            where="plan.sequence_parallel",
            hint=f"take a seq_length that is a multiple of {plan.cp * plan.tp}",
        )


def _check_sharding(plan: ParallelismPlan) -> None:
    replicas = plan.dp * plan.cp
    if plan.shard_group_size is None:
        return
    policy = plan.sharding
    if not (policy.shard_weights or policy.shard_gradients or policy.shard_optimizer):
        raise PlanError(
            f"shard_group_size {plan.shard_group_size} with sharding {policy.name}, which "
            "shards nothing",
            where="plan.shard_group_size",
            hint="leave it out, or take plan.sharding: zero1, zero2, zero3, hsdp or mics",
        )
    if replicas % plan.shard_group_size:
        raise PlanError(
            f"shard_group_size {plan.shard_group_size} does not divide "
            f"dp * cp = {plan.dp} * {plan.cp} = {replicas}",
            where="plan.shard_group_size",
            hint=f"it may be {_listed(divisors(replicas))}",
        )


def _check_recompute(scenario: Scenario) -> None:
    recompute, tp = scenario.training.recompute, scenario.plan.tp
    if recompute.mode == "alternate" and tp > 1:
        raise PlanError(
            f"recompute mode 'alternate' with tp {tp} is not modelled",
            where="training.recompute.mode, plan.tp",
            hint="take tp 1, or mode selective or full",
        )
    limit = recompute.num_layers
    most = max(stage_layers(scenario.model, scenario.plan))
    if limit is not None and limit > most:
        raise PlanError(
            f"recompute num_layers {limit} is more than the {most} layers of a virtual stage",
            where="training.recompute.num_layers",
            hint=f"take at most {most}, or leave it out to recompute all of them",
        )


def _check_schedule(scenario: Scenario) -> None:
    plan, count = scenario.plan, num_microbatches(scenario.training, scenario.plan)
    actions = 2 * plan.num_stages * count
    if actions > MAX_ACTIONS:
        raise PlanError(
            f"{count} microbatches on pp * virtual_stages = {plan.pp} * {plan.virtual_stages} "
            f"stages are {actions} forwards and backwards a step, more than {MAX_ACTIONS:,}",
            where="training.global_batch_size",
            hint="raise plan.dp or training.micro_batch_size, or lower global_batch_size",
        )
    schedule = build_schedule(plan.schedule, plan.pp, count, plan.virtual_stages)
    check_trained(
        scenario.model,
        scenario.training,
        plan,
        splits_backward=schedule.splits_backward,
    )


def _check_stragglers(scenario: Scenario) -> None:
    for rank, speed in scenario.stragglers:
        if not 0 <= rank < scenario.plan.num_devices:
            raise PlanError(
                f"straggler rank {rank} is not one of the {scenario.plan.num_devices} ranks",
                where="stragglers",
                hint=f"ranks go from 0 to {scenario.plan.num_devices - 1}",
            )
        if not 0 < speed <= 1:
            raise PlanError(
                f"speed {speed} of straggler rank {rank} is not above 0 and at most 1",
                where="stragglers",
                hint="a rank at 0.9 takes 1 / 0.9 times as long to compute",
            )


def _listed(numbers: tuple[int, ...]) -> str:
    *most, last = map(str, numbers)
    shown = most if len(most) < 16 else [*most[:15], "..."]
    return f"{', '.join(shown)} or {last}" if shown else last
