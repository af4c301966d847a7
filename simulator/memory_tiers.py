"""Memory of a job beyond its devices: host memory and NVMe of a node, by term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from simulator.cost.footprint import FP32_BYTES, BufferBytes, StateBytes
from simulator.cost.offload_memory import (
    LayerBytes,
    off_device,
    on_device,
    pinned_bytes,
    streaming_buffers,
)
from simulator.numeric import as_float
from simulator.offload import Tier, consumes_gradients
from simulator.plan import num_microbatches
from simulator.report.report import TierMemory
from simulator.scenario import Scenario
from simulator.schedule.action import Phase
from simulator.workload.host_costs import HostCosts
from simulator.workload.step_costs import StepCosts

if TYPE_CHECKING:
    from simulator.step import Step

Elsewhere: TypeAlias = Mapping[str, Mapping[str, float]]
"""Tier -> term -> bytes."""
_BEYOND: tuple[Tier, ...] = ("host", "nvme")


def spread(
    scenario: Scenario,
    costs: StepCosts,
    host: HostCosts,
    stages: Sequence[int],
    states: StateBytes,
    buffers: BufferBytes,
) -> tuple[StateBytes, BufferBytes, Elsewhere]:
    """States and buffers of a rank on its device, and what lives elsewhere for it."""
    plan, offload = scenario.plan, host.offload
    gathers = plan.sharding.gather == "before_use" and plan.shard_size > 1
    layer = _largest_layer(costs, host, stages)
    beside = gathers and plan.overlap_dp and offload.overlap
    kept = streaming_buffers(
        buffers,
        layer,
        offload,
        gathers=gathers,
        reduces=plan.dp * plan.cp > 1,
        ahead=offload.depth + plan.prefetch_depth * beside,
    )
    elsewhere: dict[str, dict[str, float]] = {}
    for tier in _BEYOND:
        parts = off_device(states, offload, scenario.training.optimizer, tier)
        elsewhere[tier] = {term: as_float(size) for term, size in parts.items() if as_float(size)}
    count = num_microbatches(scenario.training, plan)
    if consumes_gradients(offload, count) and "gradients" in elsewhere["host"]:
        # So many layers as wait for a buffer, and the one that arrives.
        share = (offload.pinned_buffers + 1) / max(costs.num_layers(stages), 1)
        elsewhere["host"]["gradients"] *= min(share, 1.0)
    wide = scenario.training.optimizer.gradient_bytes >= FP32_BYTES
    if offload.optimizer_moment == "delayed" and wide and "gradients" in elsewhere["host"]:
        # The update reads those of a step while those of the next one land; 16-bit ones land
        # beside the copy in fp32 that it reads.
        landing = offload.gradients.share("host") * as_float(states.gradients)
        elsewhere["host"]["gradients"] += landing
    elsewhere["host"]["pinned"] = as_float(pinned_bytes(layer, offload))
    return on_device(states, offload), kept, elsewhere


def _largest_layer(costs: StepCosts, host: HostCosts, stages: Sequence[int]) -> LayerBytes:
    """The largest piece that passes through the buffers of a rank."""
    parameters = max(costs.piece_parameters(stage) for stage in stages)
    activations = max(host.swapped_bytes[s] / costs.kinds[s].num_pieces for s in stages)
    weights, gradients = parameters * host.weight_bytes, parameters * host.gradient_bytes
    return LayerBytes(
        weights=weights,
        gradients=gradients,
        weight_shard=weights / host.weight_shards,
        gradient_shard=gradients / host.gradient_shards,
        activations=activations,
    )


def swapped_out(step: Step, rank: int) -> Elsewhere:
    """Activations of a rank beyond its device, when most microbatches are between F and B."""
    host, schedule = step.costs.host, step.schedule
    if host is None or not host.offload.activations.away:
        return {}
    phase, stage = schedule.phase[rank], schedule.stage[rank]
    sign = np.where(phase == Phase.F, 1.0, np.where(phase == Phase.B, -1.0, 0.0))
    held = np.cumsum(sign * np.array(host.swapped_bytes)[stage])
    return {host.offload.activations.tier: {"activations": float(held.max(initial=0.0))}}


def merged(first: Elsewhere, second: Elsewhere) -> Elsewhere:
    """Terms of both, tier by tier."""
    tiers = dict.fromkeys((*first, *second))
    return {tier: {**first.get(tier, {}), **second.get(tier, {})} for tier in tiers}


def tier_memories(step: Step, ranks: Sequence[Elsewhere]) -> tuple[TierMemory, ...]:
    """Host memory and NVMe of a node, as far as the job uses them.

    Assumes: all ranks of a node are of the class that needs most.
    """
    host, node = step.costs.host, step.scenario.cluster.node
    if host is None:
        return ()
    tiers: list[TierMemory] = []
    for name, memory in zip(_BEYOND, (node.host_memory, node.nvme), strict=True):
        each = [rank.get(name, {}) for rank in ranks]
        worst = max(each, key=lambda terms: sum(terms.values()))
        terms = {term: size * host.share.ranks_on_node for term, size in worst.items() if size}
        if not terms:
            continue
        capacity = memory.capacity_bytes if memory else 0.0
        tiers.append(TierMemory(name, sum(terms.values()), capacity, terms))
    return tuple(tiers)
