"""A pipeline schedule as data: the order in which every rank runs its forwards and backwards.

A schedule knows no seconds. Its text form, one rank per line, reads like ``0F0 0F1 0B0 ...``:
stage, phase, microbatch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from simulator.errors import ScheduleError
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
        joins_before_optimizer: all ranks wait for one another before the optimizer (gradient
            norm). Zero-bubble schedules validate afterwards instead (arXiv 2401.10241, section
            4), so a rank that ends early starts its next step early.
    """

    num_ranks: int
    num_chunks: int
    num_microbatches: int
    phase: IntArray
    stage: IntArray
    microbatch: IntArray
    stage_rank: IntArray
    splits_backward: bool
    joins_before_optimizer: bool = True

    @property
    def num_stages(self) -> int:
        """Virtual stages p * v."""
        return self.num_ranks * self.num_chunks

    @property
    def num_phases(self) -> int:
        """Actions per stage and microbatch: F and B, and W when the backward is split."""
        return 3 if self.splits_backward else 2


def looping_placement(num_ranks: int, num_chunks: int) -> IntArray:
    """Stage s lies on rank s mod p. [stages]."""
    return np.tile(np.arange(num_ranks, dtype=np.int64), num_chunks)


def v_placement(num_ranks: int) -> IntArray:
    """Two chunks per rank in a V: stage s lies on rank s going down, 2p - 1 - s going up. [2p]."""
    down = np.arange(num_ranks, dtype=np.int64)
    return np.concatenate([down, down[::-1]])


def format_action(phase: int, stage: int, microbatch: int) -> str:
    """One action as text: ``2F0`` is stage 2, forward, microbatch 0."""
    return f"{stage}{Phase(phase).name}{microbatch}"


def format_schedule(schedule: Schedule) -> str:
    """The schedule as text, one rank per line; ``parse_schedule`` reads it back."""
    columns = (schedule.phase, schedule.stage, schedule.microbatch)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return "\n".join(" ".join(map(format_action, *row)) for row in rows)


_ACTION: Final = re.compile(r"(\d+)([FBW])(\d+)\Z")


def parse_schedule(text: str) -> Schedule:
    """The schedule written as ``text``, one rank per line.

    A stage lies on the rank whose line mentions it earliest; the numbers of stages and of
    microbatches are one more than the largest index written. Says nothing about whether the
    schedule can run: see ``validate``.

    Raises:
        ScheduleError: if a word is no action, the lines differ in length, or the stages do not
            divide over the ranks.
    """
    rows = [line.split() for line in text.strip().splitlines()]
    if not rows:
        raise ScheduleError("the schedule is empty", hint="write one rank per line: 0F0 0B0")
    table = np.array(_parse_words(rows), dtype=np.int64).reshape(len(rows), -1, 3)
    stage, phase, microbatch = table[..., 0], table[..., 1], table[..., 2]
    stages, first = np.unique(stage.T, return_index=True)
    num_stages, num_ranks = int(stage.max()) + 1, len(rows)
    if stages.size != num_stages or num_stages % num_ranks:
        raise ScheduleError(
            f"the schedule names {stages.size} different stages up to stage {num_stages - 1} "
            f"on {num_ranks} ranks",
            hint="every stage must occur, and every rank must hold equally many",
        )
    return Schedule(
        num_ranks=num_ranks,
        num_chunks=num_stages // num_ranks,
        num_microbatches=int(microbatch.max()) + 1,
        phase=phase,
        stage=stage,
        microbatch=microbatch,
        stage_rank=first.astype(np.int64) % num_ranks,
        splits_backward=bool((phase == Phase.W).any()),
    )


def _parse_words(rows: list[list[str]]) -> list[list[tuple[int, int, int]]]:
    """(stage, phase, microbatch) of every word, checking that the rows are equally long."""
    parsed: list[list[tuple[int, int, int]]] = []
    for rank, words in enumerate(rows):
        if len(words) != len(rows[0]):
            raise ScheduleError(
                f"rank {rank} has {len(words)} actions, but rank 0 has {len(rows[0])}",
                hint="every rank runs each of its stages once per microbatch and phase",
            )
        actions: list[tuple[int, int, int]] = []
        for position, word in enumerate(words):
            match = _ACTION.match(word)
            if match is None:
                raise ScheduleError(
                    f"'{word[:20]}' is not an action",
                    where=f"rank {rank}, action {position}",
                    hint="write stage, phase (F, B or W), microbatch: 2F0",
                )
            actions.append((int(match[1]), Phase[match[2]], int(match[3])))
        parsed.append(actions)
    return parsed
