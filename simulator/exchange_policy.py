"""What data-parallel workers tell each other, how often, and in which numbers: ``plan.exchange``.

A worker is a group of data-parallel ranks that reduce gradients among themselves every step; the
policy says what workers exchange. Without a policy all ranks are one worker (``every_step``).

Sources: Local SGD (Stich 2018, arXiv 1805.09767), DiLoCo (arXiv 2311.08105), Streaming DiLoCo
(arXiv 2501.18512), CO2 (arXiv 2401.16265), 1-bit Adam (arXiv 2102.02888), PowerSGD
(arXiv 1905.13727), top-k with error feedback (arXiv 1809.07599), zeroth-order training in scalars
(MeZO, arXiv 2305.17333; Just One Byte, arXiv 2306.10015), parameter servers (Li et al. 2014, OSDI).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

PolicyName = Literal[
    "local",
    "async_local",
    "streaming",
    "one_bit",
    "low_rank",
    "top_k",
    "scalar",
    "parameter_server",
]
OuterHome = Literal["device", "host"]
WireName = Literal["fp32", "bf16", "fp16", "fp8", "int8", "fp4", "int4"]
WIRE_BYTES: Final[Mapping[WireName, float]] = {
    "fp32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "fp4": 0.5,
    "int4": 0.5,
}
"""Bytes of one element on the wire."""


@dataclass(frozen=True, slots=True)
class SiteLink:
    """What joins the sites of the workers, where that is not the cluster's own network.

    Attributes:
        bytes_per_s: what a site sends, and as much that it receives.
        latency_s: of one message between two sites.
    """

    bytes_per_s: float
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One policy and its values; those of other policies keep their defaults.

    Attributes:
        policy: a row of ``exchange/policies.py``.
        workers: groups of data-parallel ranks; each divides dp evenly.
        every: inner steps between two exchanges of the same weights.
        wire: of the elements that are exchanged.
        fragments: parts of the model that are exchanged one after the other, each of every
            ``fragments``-th layer.
        overlap_steps: whole steps that may pass before what was sent is waited for.
        by_layer: a layer's part leaves as its backward ends, and is waited for where the layer is
            next used, instead of after the step and before the next one.
        wan: between the workers; None for the cluster's network.
        warm_up_share: of all steps, in which gradients are reduced in full.
        rank: of the factors of ``low_rank``.
        share: of the gradient's elements that ``top_k`` sends.
        perturbations: directions in which ``scalar`` measures the loss per step and worker.
        servers: over which the parameters of ``parameter_server`` are spread.
        outer_home: where the outer optimizer's states live that are not being exchanged.
    """

    policy: PolicyName
    workers: int
    every: int = 1
    wire: WireName = "bf16"
    fragments: int = 1
    overlap_steps: int = 0
    by_layer: bool = False
    wan: SiteLink | None = None
    warm_up_share: float = 0.0
    rank: int = 4
    share: float = 0.01
    perturbations: int = 1
    servers: int = 1
    outer_home: OuterHome = "device"

    @property
    def wire_bytes(self) -> float:
        """Bytes of one element on the wire."""
        return WIRE_BYTES[self.wire]
