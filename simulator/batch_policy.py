"""How a scenario's microbatch is chosen when it is not given: the largest that fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

AUTO_FIT: Final = "auto_fit"
"""What a scenario writes instead of a number."""
AutoFitWord = Literal["auto_fit"]


@dataclass(frozen=True, slots=True)
class AutoFit:
    """The microbatch is the largest that fits in memory.

    Attributes:
        num_microbatches: microbatches per replica and step, so that the global batch grows with
            the microbatch; None where the global batch is held, so that the microbatch divides the
            batch of a replica.
        multiple_of: the microbatch is a multiple of this.
        memory_share: of every memory that it may fill.
    """

    num_microbatches: int | None
    multiple_of: int = 1
    memory_share: float = 1.0
