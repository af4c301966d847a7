"""What every level of memory holds when states or activations live off the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from simulator.cost.footprint import FP32_BYTES, BufferBytes, StateBytes
from simulator.numeric import Numeric
from simulator.offload import Home, Offload, Tier
from simulator.plan import OptimizerConfig

_KIND_OF: Final[Mapping[str, str]] = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer",
    "master_weights": "optimizer",
}
"""Field of ``StateBytes`` -> the kind of data whose home it shares."""


@dataclass(frozen=True, slots=True)
class LayerBytes:
    """What one layer takes as it passes through buffers, on one rank.

    Attributes:
        weights, gradients: whole, as used and made.
        weight_shard, gradient_shard: the rank's own part of them.
        activations: of one microbatch, as far as they leave the device.
    """

    weights: Numeric
    gradients: Numeric
    weight_shard: Numeric
    gradient_shard: Numeric
    activations: Numeric


def on_device(states: StateBytes, offload: Offload) -> StateBytes:
    """The part of the states that stays on the device."""
    return StateBytes(
        **{
            state: getattr(states, state) * _home(offload, state).share("device")
            for state in _KIND_OF
        }
    )


def off_device(
    states: StateBytes, offload: Offload, optimizer: OptimizerConfig, tier: Tier
) -> dict[str, Numeric]:
    """The part of the states that lives on a tier, on behalf of one rank.

    With fp16 gradients the processors' optimizer keeps a copy in fp32 beside them, which makes 20
    bytes per parameter.

    Source: ZeRO-Infinity, arXiv 2104.07857, section 3: "20 bytes of memory per parameter".
    """
    parts = {s: getattr(states, s) * _home(offload, s).share(tier) for s in _KIND_OF}
    narrow = 0.0 < optimizer.gradient_bytes < FP32_BYTES
    if narrow and offload.optimizer.away > 0:
        grown = 1.0 + FP32_BYTES / optimizer.gradient_bytes
        parts["gradients"] = parts["gradients"] * grown
    return parts


def streaming_buffers(
    buffers: BufferBytes,
    layer: LayerBytes,
    offload: Offload,
    *,
    gathers: bool,
    reduces: bool,
    ahead: int,
) -> BufferBytes:
    """Buffers on the device through which layers stream; ``workload/lower_offload.py`` keeps them.

    Weights: ``depth + 1`` whole layers, or, where they are gathered, the shards of ``ahead + 1``
    layers beside those that are whole. Gradients: those of the layer in work and, if copies
    overlap, of the one before it. Tiling divides what is whole.

    Args:
        buffers: of the sharding policy.
        layer: of the largest stage.
        offload: homes and depth.
        gathers: weights are gathered before use.
        reduces: gradients are reduced, so that a rank keeps a shard of them.
        ahead: layers whose shards come ahead of the layer that is computed.
    """
    weights = buffers.gathered_weights / offload.tiling
    gradients = buffers.gradient_buckets / offload.tiling
    if offload.weights.away > 0:
        tiles = layer.weights / offload.tiling * (offload.depth + 1)
        shards = layer.weight_shard * (ahead + 1)
        weights = weights + (shards if gathers else tiles) * offload.weights.away
    if offload.gradients.away > 0:
        held = layer.gradient_shard if reduces else layer.gradients / offload.tiling
        gradients = gradients + held * (1 + offload.overlap) * offload.gradients.away
    return replace(
        buffers,
        gathered_weights=weights,
        gradient_buckets=gradients,
        optimizer_step=buffers.optimizer_step * offload.optimizer.share("device"),
    )


def pinned_bytes(layer: LayerBytes, offload: Offload) -> Numeric:
    """Page-locked buffers of a rank in host memory.

    Those of the optimizer, and those through which layers pass between NVMe and the device.
    """
    total: Numeric = 0.0
    if offload.optimizer.away > 0:
        total = total + offload.pinned_buffers * offload.pinned_buffer_bytes
    window = offload.depth + 1
    if offload.weights.on_nvme > 0:
        total = total + window * layer.weight_shard * offload.weights.on_nvme
    if offload.activations.on_nvme > 0:
        total = total + 2 * window * layer.activations
    if offload.gradients.on_nvme > 0:
        total = total + window * layer.gradient_shard
    return total


def _home(offload: Offload, state: str) -> Home:
    return offload.homes[_KIND_OF[state]]
