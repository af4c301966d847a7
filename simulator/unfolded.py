"""A scenario as the op graph of a whole cluster: every device, every link between nodes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from simulator.errors import PlanError
from simulator.machine import Cluster, Node
from simulator.numeric import IntArray, as_float, ceil_div
from simulator.plan import expert_group, num_microbatches, process_group
from simulator.scenario import Scenario
from simulator.schedule.table import build_schedule
from simulator.step import Step, stage_pricer, step_costs
from simulator.topology import Topology
from simulator.wiring import DragonflyWiring, GraphWiring, WanWiring, rescaled
from simulator.workload.data_links import data_links
from simulator.workload.fabric_load import FabricLoad
from simulator.workload.fold import device_ranks, unfold_devices
from simulator.workload.inside import Inside
from simulator.workload.lower_devices import lower_devices
from simulator.workload.messages import Devices
from simulator.workload.slow_hosts import forward_speeds
from simulator.workload.wires import JobFabric, Routes


@dataclass(frozen=True, slots=True)
class Unfolded:
    """A step of a whole cluster.

    Attributes:
        step: its graph, to be run as any other; all traffic shares links alike.
        load: what its messages ask of the fabric.
        flow_class: of every flow of the graph.
    """

    step: Step
    load: FabricLoad

    flow_class: tuple[int, ...]

    @property
    def with_classes(self) -> Step:
        """The step on a network that serves first what passes wait for (``messages.CLASSES``)."""
        return replace(self.step, graph=replace(self.step.graph, flow_class=self.flow_class))


def build_unfolded(
    scenario: Scenario,
    routes: Routes,
    nodes: IntArray | None = None,
    *,
    connections: int = 1,
) -> Unfolded:
    """Lowers a scenario for all of its devices, with what each message loads of the fabric.

    Collectives over the replicas and inside passes, and sends beside compute, last as if they had
    the links above their NICs for themselves; who meets whom there is simulated. Collectives beside
    products of a pass, blocking sends and the sum of tied embeddings keep the price that they have
    in ``build_step``.

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
    classes = unfold_devices(
        plan,
        alone if plan.overlap_pp else topology,
        schedule.stage_rank,
        dict(scenario.stragglers),
        forward_speeds=forward_speeds(cluster, plan.num_devices),
    )
    fabric = replace(_fabric(cluster, topology, routes), connections=connections)
    if nodes is not None:
        fabric = replace(fabric, nodes=nodes)
    ranks = device_ranks(plan).reshape(-1, plan.pp)
    devices = Devices(ranks, plan.tp, fabric, alone.group_of)
    inside = _inside(scenario, alone, splits_backward=schedule.splits_backward)
    paths = [one.paths for one in classes]
    graph, load = lower_devices(schedule, costs, paths, devices, inside)
    step = Step(scenario, schedule, costs, graph, costs.table.build(), classes, True)
    return Unfolded(replace(step, graph=replace(graph, flow_class=())), load, graph.flow_class)


def _inside(scenario: Scenario, alone: Topology, *, splits_backward: bool) -> list[Inside]:
    """Collectives inside passes whose groups lie on several nodes."""
    plan = scenario.plan
    pricer = stage_pricer(scenario, alone, splits_backward=splits_backward)
    groups = {"tp": process_group(plan, "tp"), "ep": expert_group(plan)}
    links = pricer.context.links
    return [
        Inside(axis, groups[axis], pricer)
        for axis, link in links.items()
        if as_float(link.num_nodes) > 1
    ]


def check_unfoldable(scenario: Scenario) -> None:
    """Checks that the messages outside the passes of a step have links of their own.

    Raises:
        PlanError: for what is only modelled on folded ranks.
    """
    plan = scenario.plan
    for present, where, what in (
        (plan.offload is not None, "plan.offload", "offload"),
        (plan.exchange is not None, "plan.exchange", "exchanges of workers"),
        (scenario.cluster.torus is not None, "cluster", "a torus"),
    ):
        if present:
            raise PlanError(
                f"every device and link for itself is not modelled with {what}",
                where=where,
                hint="'trainsim run' takes what groups share by their number",
            )


def kept_at_price(scenario: Scenario) -> tuple[str, ...]:
    """What of the messages between nodes is not followed, in words."""
    plan, topology = scenario.plan, Topology.of(scenario.cluster)
    link = topology.group_link(process_group(plan, "tp"), num_ranks=plan.num_devices)
    beside = as_float(link.num_nodes) > 1 and (
        plan.overlap_tp or plan.tp_overlap is not None or scenario.stack.backward_tp_overlap
    )
    wiring = scenario.cluster.fabric
    adaptive = isinstance(wiring, DragonflyWiring) and wiring.routing == "adaptive"
    sends, tied = plan.pp > 1, plan.pp > 1 and scenario.model.tied_embeddings
    return (
        *(("sends that passes wait for",) if sends and not plan.overlap_pp else ()),
        *(("tensor-parallel collectives beside products",) if beside else ()),
        *(("the sum of tied embeddings",) if tied else ()),
        *(("detours of adaptive routing",) if adaptive else ()),
        *_late(scenario),
    )


def _late(scenario: Scenario) -> tuple[str, ...]:
    """Latency that ``without_contention`` leaves out, in words."""
    match scenario.cluster.fabric:
        case WanWiring(nodes) as wan if wan.latency_s:
            used = ceil_div(scenario.plan.num_devices, scenario.cluster.node.num_devices)
            return ("latency between sites",) if used > nodes else ()
        case GraphWiring(links) if any(late_s for *_, late_s in links):
            return ("latency of the links of the graph",)
        case _:
            return ()


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
