"""Levers of a machine and its software: one number made larger or smaller, all else the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from simulator.machine import (
    Accelerator,
    Cluster,
    CollectiveCurve,
    Edge,
    MemoryTier,
    Node,
    ProtocolLine,
)
from simulator.scenario import Scenario
from simulator.wiring import rescaled

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Lever:
    """One thing that can be bought or improved.

    Attributes:
        what: in words.
        pull: the scenario with the lever's quantity multiplied by a factor.
        larger_is_better: whether a larger quantity makes a step shorter.
    """

    what: str
    pull: Callable[[Scenario, float], Scenario]
    larger_is_better: bool = True


def _with_cluster(scenario: Scenario, cluster: Cluster) -> Scenario:
    return replace(scenario, cluster=cluster)


def _with_node(scenario: Scenario, node: Node) -> Scenario:
    return _with_cluster(scenario, replace(scenario.cluster, node=node))


def _with_accelerator(scenario: Scenario, accelerator: Accelerator) -> Scenario:
    return _with_node(scenario, replace(scenario.cluster.node, accelerator=accelerator))


def peak_flops(scenario: Scenario, factor: float) -> Scenario:
    """Matrix products and fused attention: dense peaks, and the rates measured of attention."""
    device = scenario.cluster.node.accelerator
    attention = {
        kernel: {
            size: replace(curve, forward_flops_per_s=curve.forward_flops_per_s * factor)
            for size, curve in curves.items()
        }
        for kernel, curves in device.attention.items()
    }
    peaks = _scaled(device.peak_flops_per_s, factor)
    return _with_accelerator(scenario, replace(device, peak_flops_per_s=peaks, attention=attention))


def memory_bandwidth(scenario: Scenario, factor: float) -> Scenario:
    """Bandwidth of the device's memory."""
    device = scenario.cluster.node.accelerator
    bandwidth = device.memory_bandwidth_bytes_per_s * factor
    return _with_accelerator(scenario, replace(device, memory_bandwidth_bytes_per_s=bandwidth))


def memory_size(scenario: Scenario, factor: float) -> Scenario:
    """Size of the device's memory: headroom, not time."""
    device = scenario.cluster.node.accelerator
    return _with_accelerator(scenario, replace(device, memory_bytes=device.memory_bytes * factor))


def kernel_launch(scenario: Scenario, factor: float) -> Scenario:
    """Gap between two kernels, and prologue of a tile."""
    device = scenario.cluster.node.accelerator
    gemm = replace(device.gemm, launch_s=device.gemm.launch_s * factor)
    attention = {
        kernel: {
            size: replace(curve, launch_s=curve.launch_s * factor) for size, curve in curves.items()
        }
        for kernel, curves in device.attention.items()
    }
    memory = replace(device.memory, launch_s=device.memory.launch_s * factor)
    return _with_accelerator(
        scenario, replace(device, gemm=gemm, attention=attention, memory=memory)
    )


def node_bandwidth(scenario: Scenario, factor: float) -> Scenario:
    """Links among the devices of a node, or of a torus; the host's where they have no others."""
    cluster = scenario.cluster
    node, curve = cluster.node, cluster.node.collectives

    def wider(line: ProtocolLine) -> ProtocolLine:
        return replace(line, bandwidth_bytes_per_s=line.bandwidth_bytes_per_s * factor)

    collectives = replace(
        _each_line(curve, wider),
        ring_bytes_per_s=_scaled(curve.ring_bytes_per_s, factor),
        all_reduce_bytes_per_s=_scaled(curve.all_reduce_bytes_per_s, factor),
    )
    through_host = not any(_scale_up(edge) for edge in node.edges)
    edges = tuple(
        _wider(edge, factor) if through_host or _scale_up(edge) else edge for edge in node.edges
    )
    torus = cluster.torus
    if torus is not None:
        torus = replace(torus, link_bytes_per_s=torus.link_bytes_per_s * factor)
    node = replace(node, collectives=collectives, edges=edges)
    return _with_cluster(scenario, replace(cluster, node=node, torus=torus))


def node_latency(scenario: Scenario, factor: float) -> Scenario:
    """Start and steps of collectives inside a node, latency of its links, hops of a torus."""
    cluster = scenario.cluster
    node = cluster.node

    def slower(line: ProtocolLine) -> ProtocolLine:
        return replace(line, base_s=line.base_s * factor, hop_s=line.hop_s * factor)

    edges = tuple(replace(edge, latency_s=edge.latency_s * factor) for edge in node.edges)
    torus = cluster.torus
    if torus is not None:
        torus = replace(torus, hop_s=torus.hop_s * factor)
    node = replace(node, collectives=_each_line(node.collectives, slower), edges=edges)
    return _with_cluster(scenario, replace(cluster, node=node, torus=torus))


def nic_bandwidth(scenario: Scenario, factor: float) -> Scenario:
    """NICs and the host's links (PCIe) to them, which else would hold faster ones back."""
    cluster = scenario.cluster
    node, network = cluster.node, cluster.network
    edges = tuple(edge if _scale_up(edge) else _wider(edge, factor) for edge in node.edges)
    node = replace(node, nic_bytes_per_s=node.nic_bytes_per_s * factor, edges=edges)
    # The fill of a tree is the time of one chunk on the wire.
    network = replace(
        network,
        chunk_s_per_byte=network.chunk_s_per_byte / factor,
        chunk_s=network.chunk_s / factor,
    )
    return _with_cluster(scenario, replace(cluster, node=node, network=network))


def network_latency(scenario: Scenario, factor: float) -> Scenario:
    """Start, steps and messages between nodes, hops through its switches, ways between sites."""
    cluster = scenario.cluster
    network = replace(
        cluster.network,
        base_s=cluster.network.base_s * factor,
        hop_s=cluster.network.hop_s * factor,
        ring_hop_s=cluster.network.ring_hop_s * factor,
        message_s=cluster.network.message_s * factor,
        handshake_s=cluster.network.handshake_s * factor,
    )
    tiers = tuple(replace(tier, hop_s=tier.hop_s * factor) for tier in cluster.tiers)
    fabric = rescaled(cluster.fabric, latency=factor)
    return _with_cluster(scenario, replace(cluster, network=network, tiers=tiers, fabric=fabric))


def oversubscription(scenario: Scenario, factor: float) -> Scenario:
    """Downlinks over uplinks of every tier, and links between sites or of a graph.

    A tier has no more uplinks than downlinks.
    """
    cluster = scenario.cluster
    tiers = tuple(
        replace(tier, oversubscription=max(1.0, tier.oversubscription * factor))
        for tier in cluster.tiers
    )
    fabric = rescaled(cluster.fabric, width=1 / factor)
    return _with_cluster(scenario, replace(cluster, tiers=tiers, fabric=fabric))


def host_overhead(scenario: Scenario, factor: float) -> Scenario:
    """Time of the host: launching layers and collectives, batches, the end of a step."""
    stack = scenario.stack
    return replace(
        scenario,
        stack=replace(
            stack,
            layer_overhead_s=stack.layer_overhead_s * factor,
            layer_stall_s=stack.layer_stall_s * factor,
            collective_overhead_s=stack.collective_overhead_s * factor,
            microbatch_overhead_s=stack.microbatch_overhead_s * factor,
            batch_overhead_s=stack.batch_overhead_s * factor,
            step_overhead_s=stack.step_overhead_s * factor,
            list_entry_s=stack.list_entry_s * factor,
        ),
    )


def host_link(scenario: Scenario, factor: float) -> Scenario:
    """Copies between devices and host memory: their links, and what a node's carry together."""
    node = scenario.cluster.node
    together = node.host_links_bytes_per_s
    return _with_node(
        scenario,
        replace(
            node,
            host_link_bytes_per_s=node.host_link_bytes_per_s * factor,
            host_links_bytes_per_s=together and together * factor,
            edges=tuple(_wider(e, factor) if _to_host(e) else e for e in node.edges),
        ),
    )


def host_memory_bandwidth(scenario: Scenario, factor: float) -> Scenario:
    """Bandwidth of host memory, and with it the host's Adam, which it limits."""
    node = scenario.cluster.node
    memory, adam = node.host_memory, node.adam_parameters_per_s
    return _with_node(
        scenario,
        replace(
            node,
            host_memory=memory and _faster(memory, factor),
            adam_parameters_per_s=adam and adam * factor,
        ),
    )


def nvme_bandwidth(scenario: Scenario, factor: float) -> Scenario:
    """Reads and writes of a node's NVMe."""
    node = scenario.cluster.node
    return _with_node(scenario, replace(node, nvme=node.nvme and _faster(node.nvme, factor)))


HARDWARE: Final[Mapping[str, Lever]] = {
    "peak_flops": Lever("peak FLOP/s of the accelerator", peak_flops),
    "memory_bandwidth": Lever("memory bandwidth of the accelerator", memory_bandwidth),
    "memory_size": Lever("memory size of the accelerator", memory_size),
    "kernel_launch": Lever("launch of a kernel", kernel_launch, larger_is_better=False),
    "node_bandwidth": Lever("link bandwidth inside a node", node_bandwidth),
    "node_latency": Lever("link latency inside a node", node_latency, larger_is_better=False),
    "nic_bandwidth": Lever("bandwidth of NICs and PCIe", nic_bandwidth),
    "host_link": Lever("copies between devices and host", host_link),
    "host_memory_bandwidth": Lever("bandwidth of host memory", host_memory_bandwidth),
    "nvme_bandwidth": Lever("bandwidth of NVMe", nvme_bandwidth),
    "network_latency": Lever("network latency", network_latency, larger_is_better=False),
    "oversubscription": Lever("oversubscription", oversubscription, larger_is_better=False),
    "host_overhead": Lever("host time of the stack", host_overhead, larger_is_better=False),
}
"""Name -> lever."""

OF_THE_HOST: Final = ("host_link", "host_memory_bandwidth", "nvme_bandwidth")
"""Levers that move nothing unless something lives off the device."""


def levers_of(scenario: Scenario) -> tuple[str, ...]:
    """Names of the levers that can move a scenario."""
    away = scenario.plan.offload is not None
    return tuple(name for name in HARDWARE if away or name not in OF_THE_HOST)


def _scaled(values: Mapping[K, float], factor: float) -> dict[K, float]:
    return {key: value * factor for key, value in values.items()}


def _each_line(
    curve: CollectiveCurve, change: Callable[[ProtocolLine], ProtocolLine]
) -> CollectiveCurve:
    return replace(
        curve,
        ll=change(curve.ll),
        ll128=change(curve.ll128),
        simple=change(curve.simple),
        in_network=change(curve.in_network) if curve.in_network else None,
        all_to_all=change(curve.all_to_all),
        all_to_all_small=change(curve.all_to_all_small),
        all_to_all_ramp=change(curve.all_to_all_ramp) if curve.all_to_all_ramp else None,
    )


def _scale_up(edge: Edge) -> bool:
    """Whether a link joins devices without the host: to one another, or to their own switch."""
    return all(part.startswith(("gpu", "switch")) for part in (edge.a, edge.b))


def _to_host(edge: Edge) -> bool:
    """Whether a link leads from a PCIe switch to the host."""
    ends = sorted((edge.a[:3], edge.b[:3]))
    return ends == ["cpu", "pci"]


def _faster(memory: MemoryTier, factor: float) -> MemoryTier:
    return replace(
        memory,
        read_bytes_per_s=memory.read_bytes_per_s * factor,
        write_bytes_per_s=memory.write_bytes_per_s * factor,
    )


def _wider(edge: Edge, factor: float) -> Edge:
    return replace(edge, bandwidth_bytes_per_s=edge.bandwidth_bytes_per_s * factor)
