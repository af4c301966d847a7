"""All pipeline schedules by name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Protocol

from simulator.errors import UnknownNameError
from simulator.schedule.action import Schedule
from simulator.schedule.gpipe import gpipe
from simulator.schedule.interleaved import interleaved, interleaved_steady
from simulator.schedule.one_f_one_b import one_f_one_b
from simulator.schedule.zb_v import zb_v
from simulator.schedule.zero_bubble import zb_2p, zb_h1, zb_h2


class ScheduleBuilder(Protocol):
    """Makes a schedule for p ranks, m microbatches and v chunks per rank."""

    def __call__(self, num_ranks: int, num_microbatches: int, num_chunks: int) -> Schedule:
        """The schedule; raises ``ScheduleError`` when it does not exist for these numbers."""
        ...


SCHEDULES: Final[Mapping[str, ScheduleBuilder]] = {
    "gpipe": gpipe,
    "1f1b": one_f_one_b,
    "interleaved": interleaved,
    "interleaved-steady": interleaved_steady,
    "zb-h1": zb_h1,
    "zb-h2": zb_h2,
    "zb-2p": zb_2p,
    "zb-v": zb_v,
}
"""To add a schedule: one file, one line here; the contract tests then cover it."""
INTERLEAVED: Final = ("interleaved", "interleaved-steady")
"""Schedules of any number of chunks above 1, and of whole rounds of p microbatches."""
_FIXED_CHUNKS: Final[Mapping[str, int]] = {"zb-v": 2}
"""Chunks of schedules that need another number than 1."""


def least_chunks(name: str) -> int:
    """Fewest chunks per rank of a schedule, and of all but ``INTERLEAVED`` the only number."""
    return 2 if name in INTERLEAVED else _FIXED_CHUNKS.get(name, 1)


@lru_cache(maxsize=64)
def build_schedule(
    name: str, num_ranks: int, num_microbatches: int, num_chunks: int = 1
) -> Schedule:
    """The named schedule; its arrays are read-only, for it is cached.

    Raises:
        UnknownNameError: if there is no such schedule.
        ScheduleError: if the schedule does not exist for these numbers.
    """
    if name not in SCHEDULES:
        raise UnknownNameError.of("schedule", name, SCHEDULES, where="plan.schedule")
    schedule = SCHEDULES[name](num_ranks, num_microbatches, num_chunks)
    for column in (schedule.phase, schedule.stage, schedule.microbatch, schedule.stage_rank):
        column.flags.writeable = False
    return schedule
