"""How a tensor-parallel product is overlapped with the reduction of its result, chunk by chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

OverlapMode = Literal["sm", "dma"]
"""Who moves the chunks: a communication kernel on some SMs, or copy engines beside memory that
adds (T3)."""
DramSharing = Literal["none", "arbitrated", "shared"]
"""What copies cost the product in DRAM: nothing; only what DRAM cannot carry in time, as the memory
controller serves the product first; or every byte they move, as requests are served in turn."""

DEFAULT_COMMUNICATION_SMS: Final = 16
"""SMs of the communication kernel. Source: T3 (arXiv 2401.16677): of 8 and 16
compute units, 16 slow the reduce-scatter by 7 %, 8 by 41 %."""


@dataclass(frozen=True, slots=True)
class TpOverlap:
    """The reduction leaves in chunks, each as soon as the product has made it.

    Source: Pati et al. 2024, T3 (arXiv 2401.16677): the reduce-scatter of an all-reduce runs beside
        the product that feeds it, the all-gather follows.

    Attributes:
        mode: see ``OverlapMode``.
        chunks: pieces of the result; None for one per tensor-parallel rank, as a ring sends them.
        communication_sms: SMs that the communication kernel takes from the product (mode sm).
        dram: how copies and a product share it (mode dma).
    """

    mode: OverlapMode
    chunks: int | None = None
    communication_sms: int = DEFAULT_COMMUNICATION_SMS
    dram: DramSharing = "arbitrated"
