"""One worker of a scenario: what it trains by itself, and where it stands among the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulator.exchange.between import Between
from simulator.exchange.program import InnerStep
from simulator.exchange_policy import Exchange
from simulator.host_share import host_share
from simulator.model import TransformerConfig
from simulator.numeric import as_float
from simulator.plan import ProcessGroup, num_microbatches
from simulator.scenario import Scenario
from simulator.schedule.action import Phase
from simulator.schedule.table import build_schedule
from simulator.step import step_costs
from simulator.topology import Topology
from simulator.workload.step_costs import StepCosts


@dataclass(frozen=True, slots=True)
class Setting:
    """What policies compute with.

    Attributes:
        inner: one step of a worker by itself.
        parameters: of the fullest rank.
        tp: tensor-parallel ranks, for shapes of matrices.
        num_layers: of the fullest pipeline rank.
        forward_flops: of all forwards of a worker's step.
        forward_terms_s: what they take on its first rank, by term.
        owned_share: of the parameters that a rank's optimizer owns inside its worker.
        host_bytes_per_s: of a copy to or from host memory while all ranks of a node copy.
    """

    exchange: Exchange
    model: TransformerConfig
    inner: InnerStep
    parameters: float
    tp: int
    num_layers: int
    forward_flops: float
    forward_terms_s: Mapping[str, float]
    owned_share: float
    host_bytes_per_s: float
    between: Between


def policy_of(scenario: Scenario) -> Exchange:
    """The policy of a scenario that has one."""
    assert scenario.plan.exchange is not None
    return scenario.plan.exchange


def inner_scenario(scenario: Scenario) -> Scenario:
    """What one worker does by itself: its share of the ranks and of the batch.

    Assumes: its ranks are neighbours: the first of the machine.
    """
    plan, training, workers = scenario.plan, scenario.training, policy_of(scenario).workers
    return replace(
        scenario,
        plan=replace(plan, dp=plan.dp // workers, exchange=None),
        training=replace(training, global_batch_size=training.global_batch_size // workers),
    )


def setting_of(scenario: Scenario, step: InnerStep) -> Setting:
    """What the policies of a scenario compute with.

    Args:
        scenario: with a policy.
        step: one step of a worker.
    """
    inner = inner_scenario(scenario)
    plan, cluster = inner.plan, inner.cluster
    topology = Topology.of(cluster)
    count = num_microbatches(inner.training, plan)
    schedule = build_schedule(plan.schedule, plan.pp, count, plan.virtual_stages)
    costs = step_costs(inner, topology, schedule)
    stages = [
        tuple(np.flatnonzero(schedule.stage_rank == rank).tolist()) for rank in range(plan.pp)
    ]
    exchange, total = policy_of(scenario), scenario.plan.num_devices
    across = ProcessGroup("dp", exchange.workers, plan.num_devices)
    network, node = cluster.network, cluster.node
    host = host_share(node, total)
    between = Between(
        workers=exchange.workers,
        across=topology.group_link(across, num_ranks=total),
        inside=costs.links.shard,
        ranks_per_node=min(node.num_devices, total),
        ranks_per_worker=plan.num_devices,
        server_bytes_per_s=node.num_nics * node.nic_bytes_per_s * network.bandwidth_fraction,
        context=costs.pricer.context,
        wan=exchange.wan,
    )
    return Setting(
        exchange=exchange,
        model=scenario.model,
        inner=step,
        parameters=max(costs.rank_parameters(of_rank) for of_rank in stages),
        tp=plan.tp,
        num_layers=max(sum(costs.kinds[s].num_layers for s in of_rank) for of_rank in stages),
        forward_flops=sum(
            as_float(costs.stage_cost(stage, Phase.F).flops) * count * plan.tp * plan.dp
            for stage in range(schedule.num_stages)
        ),
        forward_terms_s=_forward_terms_s(costs, stages[0], count),
        owned_share=1 / plan.shard_size if plan.sharding.shard_optimizer else 1.0,
        host_bytes_per_s=as_float(min(host.link_bytes_per_s, host.tree_bytes_per_s)),
        between=between,
    )


def _forward_terms_s(costs: StepCosts, stages: Sequence[int], count: int) -> dict[str, float]:
    """Seconds of all forwards of a rank by term."""
    forwards = [costs.stage_cost(stage, Phase.F) for stage in stages]
    return {
        "compute": count * sum(as_float(one.compute_s) for one in forwards),
        "tp_comm": count * sum(as_float(one.tp_comm_s) for one in forwards),
        "overhead": count * sum(as_float(one.overhead_s) for one in forwards),
    }
