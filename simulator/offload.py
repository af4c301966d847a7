"""Where model states and activations live beyond the device, and how they travel.

Sources: ZeRO-Offload (Ren et al. 2021, arXiv 2101.06840), ZeRO-Infinity (Rajbhandari et al. 2021,
arXiv 2104.07857), Fuyou (Liao et al. 2024, arXiv 2403.06504).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, Literal

Tier = Literal["device", "host", "nvme"]
TIERS: Final[tuple[Tier, ...]] = ("device", "host", "nvme")
Transfer = Literal["partitioned", "broadcast"]
OptimizerMoment = Literal["after_step", "in_backward", "delayed"]


@dataclass(frozen=True, slots=True)
class Home:
    """Where one kind of data lives.

    Attributes:
        tier: the device, host memory or NVMe.
        fraction: of it that lives there; the rest stays on the device.
    """

    tier: Tier = "device"
    fraction: float = 1.0

    def share(self, tier: Tier) -> float:
        """Part of the data that lives on a tier."""
        if tier == self.tier:
            return 1.0 if tier == "device" else self.fraction
        return 1.0 - self.fraction if tier == "device" else 0.0

    @property
    def away(self) -> float:
        """Part of the data that does not live on the device."""
        return 1.0 - self.share("device")

    @property
    def on_nvme(self) -> float:
        """Part of the data that lives on NVMe."""
        return self.share("nvme")


@dataclass(frozen=True, slots=True)
class Offload:
    """Homes of everything a rank holds, and how it is brought and taken away.

    Attributes:
        weights, gradients, optimizer, activations: homes. ``optimizer`` are moments and master
            weights; what of them does not live on the device, the processor updates.
        prefetch_depth: layers whose weights and activations are on their way ahead of the one that
            is computed; with NVMe as many again are on their way to host memory.
        pinned_buffer_bytes, pinned_buffers: page-locked host memory of a rank through which
            optimizer states stream: a buffer holds one chunk, from its read to its write.
        transfer: every rank copies its own 1/N of the weights over its own PCIe link, then all
            gather (``partitioned``, bandwidth-centric), or the owner of a layer copies all of it
            over one link and broadcasts (``broadcast``).
        overlap: copies run beside compute, and beside one another; without it compute waits for
            every copy.
        optimizer_moment: the update of what lives off the device runs after the backward, reading,
            updating and writing chunks beside one another (ZeRO-Infinity); as each layer's
            gradient lands (Fuyou); or beside the next step's passes, on gradients one step old
            (ZeRO-Offload's delayed parameter update).
        tiling: parts in which the matrices of a layer are brought, computed and released one after
            the other (memory-centric tiling).
    """

    weights: Home = Home()
    gradients: Home = Home()
    optimizer: Home = Home()
    activations: Home = Home()
    prefetch_depth: int = 1
    pinned_buffer_bytes: float = 1e9
    pinned_buffers: int = 4
    transfer: Transfer = "partitioned"
    overlap: bool = True
    optimizer_moment: OptimizerMoment = "after_step"
    tiling: int = 1

    @property
    def homes(self) -> Mapping[str, Home]:
        """Kind of data -> its home."""
        return {name: getattr(self, name) for name in KINDS}

    @property
    def depth(self) -> int:
        """Layers on their way ahead of the one that is computed."""
        return self.prefetch_depth if self.overlap else 0


KINDS: Final = tuple(f.name for f in fields(Offload))[:4]
"""Kinds of data that have a home."""


def consumes_gradients(offload: Offload, num_microbatches: int) -> bool:
    """Whether gradients are used up as they reach the host, so that it never holds all of them."""
    in_backward = offload.optimizer_moment == "in_backward" and offload.optimizer.away > 0
    return in_backward and offload.gradients.tier == "host" and num_microbatches == 1


def lives_elsewhere(offload: Offload | None) -> bool:
    """Whether anything lives off the device."""
    return offload is not None and any(home.away > 0 for home in offload.homes.values())
