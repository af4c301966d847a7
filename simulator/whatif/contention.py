"""What a job loses to others on its wires: every device and link simulated, several ways."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

import numpy as np

from simulator.engine.breakdown import period_s
from simulator.errors import PlanError
from simulator.fabric.cluster import Routing, network_of
from simulator.fabric.fat_tree import Spreading
from simulator.fabric.links import Fabric
from simulator.machine import Cluster
from simulator.numeric import ceil_div
from simulator.plan import num_microbatches
from simulator.progress import Progress, followed, silent
from simulator.scenario import Scenario
from simulator.simulate import run_step
from simulator.step import Step, build_step
from simulator.unfolded import Unfolded, build_unfolded, kept_at_price, without_contention
from simulator.wiring import TreeWiring

Placing: TypeAlias = Literal["in order", "shuffled"]
"""``in order``: neighbouring ranks on neighbouring nodes; ``shuffled``: the nodes of the job in an
order drawn at random, as when a scheduler knows nothing of the network."""


MAX_PASSES: Final = 1_000_000
"""Forwards and backwards of all devices; more take minutes for every row."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A step whose messages meet on the links of the fabric.

    Attributes:
        placing: where its nodes are.
        spreading: how messages are spread over parallel links; other networks than trees route
            each by hash among its shortest ways, adaptive ones too.
        seed: of hashes, and of the order drawn.
        step_s: step time.
        classes_s: the same where switches serve first what passes wait for, then gathers of
            weights, then reductions of gradients; None where that was not asked for.
        asked: of the fullest link, what all messages at once would take of it at full speed, as a
            share of its bandwidth; 0 where no link can fill.
        fullest: its name, empty where no link can fill.
        num_full: links of which more is asked than they have.
    """

    placing: Placing
    spreading: Spreading
    seed: int
    step_s: float
    asked: float
    fullest: str
    num_full: int
    classes_s: float | None = None


@dataclass(frozen=True, slots=True)
class Contention:
    """A job alone on its wires, and with what its own messages do to one another.

    Attributes:
        name: of the scenario.
        devices: simulated, each for itself.
        links: of the fabric, between the NICs.
        alone_s: step time if no two messages met above the NICs.
        by_number_s: as ``run`` predicts: what groups share, divided by their number.
        shared: the same job on the links themselves.
        at_price: of the messages between nodes, those that keep the time ``run`` gives them and
            load no link, and ways that none takes.
    """

    name: str
    devices: int
    links: int
    alone_s: float
    by_number_s: float
    shared: tuple[Shared, ...]
    at_price: tuple[str, ...] = ()


def contention(
    scenario: Scenario,
    *,
    num_seeds: int,
    connections: int = 1,
    with_classes: bool = False,
    progress: Progress = silent,
) -> Contention:
    """Simulates a job device by device and link by link.

    Args:
        scenario: checked.
        num_seeds: hashes, and orders of nodes, that are tried.
        connections: of a NIC to another; hashes send each its own way.
        with_classes: also on a network with classes of traffic.
        progress: is told the ways that are done.

    Raises:
        PlanError: if the job uses one node, is too large, or has messages whose links are not known
            one by one.
    """
    used = ceil_div(scenario.plan.num_devices, scenario.cluster.node.num_devices)
    _check_size(scenario, used)
    own_nodes = replace(scenario.cluster, num_nodes=used)
    quiet = replace(scenario, cluster=without_contention(scenario.cluster))
    shared: list[Shared] = []
    links = 0
    ways = list(_ways(num_seeds, is_tree=_is_tree(scenario.cluster)))
    for placing, spreading, seed in followed(ways, "Simulating every link", progress):
        nodes = np.arange(used)
        if placing == "shuffled":
            nodes = np.random.default_rng(seed).permutation(used)
        fabric = network_of(own_nodes, Routing(spreading=spreading, seed=seed))
        links = max(links, fabric.num_links)
        unfolded = build_unfolded(scenario, fabric, nodes, connections=connections)
        one = _shared(unfolded, fabric, (placing, spreading, seed))
        if with_classes:
            one = replace(one, classes_s=_step_s(unfolded.with_classes))
        shared.append(one)
    return Contention(
        name=scenario.name,
        devices=scenario.plan.num_devices,
        links=links,
        alone_s=_step_s(build_step(quiet)),
        by_number_s=_step_s(build_step(scenario)),
        shared=tuple(shared),
        at_price=kept_at_price(scenario),
    )


def _check_size(scenario: Scenario, used: int) -> None:
    if used == 1:
        raise PlanError(
            f"the {scenario.plan.num_devices} devices of {scenario.name} lie in one node: no "
            "message leaves it",
            where="cluster.nodes",
            hint="take a job of several nodes",
        )
    plan, microbatches = scenario.plan, num_microbatches(scenario.training, scenario.plan)
    each = 2 * plan.virtual_stages * microbatches
    passes = each * plan.num_devices
    if passes > MAX_PASSES:
        raise PlanError(
            f"{plan.num_devices:,} devices with {each} passes each are {passes:,} passes, more "
            f"than {MAX_PASSES:,}",
            where="plan",
            hint="take fewer microbatches or devices: plan.dp and training.global_batch_size alike",
        )


def _is_tree(cluster: Cluster) -> bool:
    """Whether the network has parallel links over which packets can be sprayed."""
    return cluster.fabric is None or isinstance(cluster.fabric, TreeWiring)


def _ways(num_seeds: int, *, is_tree: bool) -> list[tuple[Placing, Spreading, int]]:
    seeds = range(num_seeds)
    placings: tuple[Placing, ...] = ("in order", "shuffled")
    spreadings: tuple[Spreading, ...] = ("sprayed", "ecmp") if is_tree else ("ecmp",)
    return [
        (placing, spreading, seed)
        for placing in placings
        for spreading in spreadings
        for seed in seeds
        # In order and over all paths nothing is drawn.
        if seed == 0 or (placing, spreading) != ("in order", "sprayed")
    ]


def _step_s(step: Step) -> float:
    """Step time as reports state it: without a barrier the period of steps, not the makespan."""
    return period_s(run_step(step)[0], joined=step.schedule.joins_before_optimizer)


def _shared(unfolded: Unfolded, fabric: Fabric, way: tuple[Placing, Spreading, int]) -> Shared:
    asked = unfolded.load.asked
    fullest = int(np.argmax(asked)) if asked else -1
    return Shared(
        *way,
        step_s=_step_s(unfolded.step),
        asked=asked[fullest] if asked else 0.0,
        fullest=fabric.link_name(unfolded.load.links[fullest]) if asked else "",
        num_full=unfolded.load.num_full,
    )
