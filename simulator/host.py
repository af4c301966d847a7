"""Prices of what a scenario keeps off its devices."""

from __future__ import annotations

from dataclasses import replace

from simulator.cost.activation import MicrobatchShape, stage_activation_bytes
from simulator.cost.footprint import bytes_per_weight
from simulator.host_share import host_share
from simulator.offload import lives_elsewhere
from simulator.scenario import Scenario
from simulator.shard_groups import level_size
from simulator.workload.host_costs import HostCosts
from simulator.workload.pass_memory import ActivationBytes


def host_costs(scenario: Scenario, activations: tuple[ActivationBytes, ...]) -> HostCosts | None:
    """Prices of copies and of the optimizer on the host; None where nothing lives there.

    Args:
        scenario: checked.
        activations: [stages].
    """
    plan, training = scenario.plan, scenario.training
    if plan.offload is None or not lives_elsewhere(plan.offload):
        return None
    policy, optimizer, node = plan.sharding, training.optimizer, scenario.cluster.node
    return HostCosts(
        offload=plan.offload,
        share=host_share(node, plan.num_devices),
        weight_bytes=bytes_per_weight(training.precision, fp8_only=scenario.stack.fp8_weights),
        gradient_bytes=optimizer.gradient_bytes,
        state_bytes=optimizer.state_bytes + optimizer.master_bytes,
        weight_shards=level_size(plan, node, policy.weights),
        # Where only the optimizer is sharded, a rank sends away the gradients that it updates with.
        gradient_shards=level_size(plan, node, policy.optimizer),
        optimizer_shards=level_size(plan, node, policy.optimizer),
        swapped_bytes=tuple(one.swapped for one in activations),
    )


def swapping(
    scenario: Scenario, num_layers: int, sizes: ActivationBytes, shape: MicrobatchShape
) -> ActivationBytes:
    """Activations of a stage, of whose layers a part leaves the device.

    Args:
        scenario: for the homes.
        num_layers: of the stage.
        sizes: as if all stayed.
        shape: of the microbatch on a rank.
    """
    offload = scenario.plan.offload
    if offload is None or not offload.activations.away:
        return sizes
    stack, recompute = scenario.stack, scenario.training.recompute
    layers = stage_activation_bytes(scenario.model, shape, stack, recompute, num_layers)
    swapped = offload.activations.away * float(layers)
    return replace(sizes, held=sizes.held - swapped, swapped=swapped)
