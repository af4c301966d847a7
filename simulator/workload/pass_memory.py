"""Memory that a forward takes and a backward gives back."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.schedule.action import Phase


@dataclass(frozen=True, slots=True)
class ActivationBytes:
    """Memory that passes take and give back.

    Attributes:
        held: from the forward to the backward of a microbatch.
        working: only while the backward runs (recomputed activations, logit gradients).
        for_weights: the part of ``held`` that a separate backward of weights still needs.
        swapped: leaves the device, layer by layer, after the forward, and comes back for the
            backward; no part of ``held``.
    """

    held: float
    working: float
    for_weights: float
    swapped: float = 0.0

    def acquired(self, phase: Phase) -> float:
        """What a pass takes when it starts."""
        return {Phase.F: self.held, Phase.B: self.working, Phase.W: 0.0}[phase]

    def released(self, phase: Phase, *, splits_backward: bool) -> float:
        """What a pass gives back when it ends."""
        kept = self.for_weights if splits_backward else 0.0
        return {Phase.F: 0.0, Phase.B: self.held + self.working - kept, Phase.W: kept}[phase]
