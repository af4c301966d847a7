"""A scenario as the op graph of a whole cluster: every device, every link between nodes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from simulator.errors import PlanError
from simulator.machine import Cluster, Node
from simulator.numeric import IntArray
from simulator.plan import num_microbatches
from simulator.scenario import Scenario
from simulator.schedule.action import Schedule
from simulator.schedule.table import build_schedule
from simulator.step import Step, step_costs
from simulator.topology import Topology
from simulator.wiring import rescaled
from simulator.workload.data_links import data_links
from simulator.workload.fold import device_ranks, unfold_devices
from simulator.workload.lower_devices import lower_devices
from simulator.workload.slow_hosts import forward_speeds
from simulator.workload.wires import FabricLoad, JobFabric, Routes, fabric_load


@dataclass(frozen=True, slots=True)
class Unfolded:
    """A step of a whole cluster.

    Attributes:
        step: its graph, to be run as any other.
        load: what its messages ask of the fabric.
    """

    step: Step
    load: FabricLoad


def build_unfolded(
    scenario: Scenario,
    routes: Routes,
    nodes: IntArray | None = None,
    *,
    connections: int = 1,
) -> Unfolded:
    """Lowers a scenario for all of its devices, with what each message loads of the fabric.

    Collectives over the replicas, and sends beside compute, last as if they had the links above
    their NICs for themselves; who meets whom there is simulated. What is part of a pass
    (collectives of tensor parallelism, blocking sends) keeps the price that it has in
    ``build_step``, as has the sum of tied embeddings.

    Args:
        scenario: checked (``scenario.check``).
        routes: links of the cluster's fabric, between its NICs.
        nodes: which of the fabric's nodes the job has, in the order of its ranks; the first ones by
            default.
        connections: of a NIC to another, each with a route of its own.

    Raises:
        PlanError: if the plan does not fit the model or the machine, or has messages whose links
            are not known one by one.
        ScheduleError: if the schedule cannot run.
    """
    check_unfoldable(scenario)
    plan, cluster = scenario.plan, scenario.cluster
    topology, alone = Topology.of(cluster), Topology.of(without_contention(cluster))
    count = num_microbatches(scenario.training, plan)
    schedule = build_schedule(plan.schedule, plan.pp, count, plan.virtual_stages)
    costs = step_costs(scenario, topology, schedule, alone=alone)
    costs.links = replace(costs.links, ends=data_links(plan, cluster.node, topology).ends)
    devices = unfold_devices(
        plan,
        alone if plan.overlap_pp else topology,
        schedule.stage_rank,
        dict(scenario.stragglers),
        forward_speeds=forward_speeds(cluster, plan.num_devices),
    )
    fabric = _fabric(cluster, topology, routes)
    fabric = replace(fabric, connections=connections)
    if nodes is not None:
        fabric = replace(fabric, nodes=nodes)
    load = fabric_load(fabric, device_ranks(plan), plan.tp, _send_ranks(scenario, schedule))
    paths = [device.paths for device in devices]
    graph = lower_devices(schedule, costs, paths, load)
    step = Step(scenario, schedule, costs, graph, costs.table.build(), devices, True)
    return Unfolded(step, load)


def check_unfoldable(scenario: Scenario) -> None:
    """Checks that the messages outside the passes of a step have links of their own.

    Raises:
        PlanError: for what is only modelled on folded ranks.
    """
    plan = scenario.plan
    for present, where, what in (
        (scenario.model.num_experts > 0, "model.num_experts", "experts"),
        (plan.offload is not None, "plan.offload", "offload"),
        (plan.exchange is not None, "plan.exchange", "exchanges of workers"),
        (not plan.sharding.is_classic, "plan.sharding", f"sharding {plan.sharding.name}"),
        (plan.shard_size != plan.dp * plan.cp, "plan.shard_group_size", "several shard groups"),
        (scenario.cluster.torus is not None, "cluster", "a torus"),
    ):
        if present:
            raise PlanError(
                f"every device and link for itself is not modelled with {what}",
                where=where,
                hint="'trainsim run' takes what groups share by their number",
            )


def _fabric(cluster: Cluster, topology: Topology, routes: Routes) -> JobFabric:
    """The fabric as the first nodes of a cluster use it."""
    shares, network = np.array(topology.nic_bytes_per_s), cluster.network
    messages = network.message_fraction or network.bandwidth_fraction
    return JobFabric(
        routes=routes,
        num_nics=cluster.node.num_nics,
        nics=_nics_of_devices(cluster.node),
        ring_bytes_per_s=shares * network.bandwidth_fraction,
        message_bytes_per_s=shares * messages,
        fraction=max(messages, network.bandwidth_fraction),
        nodes=np.arange(cluster.num_nodes),
    )


def _nics_of_devices(node: Node) -> IntArray:
    """NICs of every device, in order: as many for each, or one for as many. [devices, NICs]."""
    each = max(1, node.num_nics // node.num_devices)
    first = np.arange(node.num_devices) * node.num_nics // node.num_devices
    return first[:, None] + np.arange(each)


def without_contention(cluster: Cluster) -> Cluster:
    """The same machine if nobody met anybody above the NICs, and nothing were far.

    A link that fills slows a message from its first byte to its last, start-up included; the
    milliseconds of a far link would be multiplied with it, and are left out.
    """
    return replace(
        cluster,
        tiers=tuple(replace(tier, oversubscription=1.0) for tier in cluster.tiers),
        fabric=rescaled(cluster.fabric, width=math.inf, latency=0.0),
    )


def _send_ranks(scenario: Scenario, schedule: Schedule) -> list[tuple[int, int]]:
    """Pipeline ranks (from, to) between which messages go beside compute."""
    if not scenario.plan.overlap_pp:
        return []
    forward = [(a, b) for a, b in pairwise(schedule.stage_rank.tolist()) if a != b]
    return list(dict.fromkeys((*forward, *((b, a) for a, b in forward))))
