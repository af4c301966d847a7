"""A pipeline schedule as data: the order in which every rank runs its forwards and backwards.

A schedule knows no seconds. Its text form, one rank per line, reads like ``0F0 0F1 0B0 ...``:
stage, phase, microbatch.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from simulator.numeric import IntArray


class Phase(IntEnum):
    """What an action computes."""

    F = 0
    """Forward."""
    B = 1
    """Backward: of inputs and weights together, or of inputs only when W actions exist."""
    W = 2
    """Backward of weights alone (zero-bubble schedules)."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The order of actions on every pipeline rank, as columns.

    Attributes:
        num_ranks: pipeline ranks p.
        num_chunks: virtual stages v held by each rank; there are p * v stages.
        num_microbatches: m.
        phase, stage, microbatch: [ranks, actions]; ``stage`` is the virtual stage in model order.
        stage_rank: [stages], the rank that holds a stage.
        splits_backward: W actions exist and B is the backward of inputs only.
    """

    num_ranks: int
    num_chunks: int
    num_microbatches: int
    phase: IntArray
    stage: IntArray
    microbatch: IntArray
    stage_rank: IntArray
    splits_backward: bool

    @property
    def num_stages(self) -> int:
        """Virtual stages p * v."""
        return self.num_ranks * self.num_chunks


def looping_placement(num_ranks: int, num_chunks: int) -> IntArray:
    """Stage s lies on rank s mod p. [stages]."""
    return np.tile(np.arange(num_ranks, dtype=np.int64), num_chunks)
