from __future__ import annotations

import numpy as np
import pytest

from simulator.schedule.action import Phase
from simulator.schedule.table import SCHEDULES, build_schedule, least_chunks
from simulator.search.program import ScheduleKey, program


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_pass_needs_only_passes_of_earlier_levels(name: str) -> None:
    chunks = least_chunks(name)
    schedule = build_schedule(name, 4, 8, chunks)
    made = program(ScheduleKey(schedule))
    levels, count = made.levels, made.num_passes
    assert count == schedule.phase.size
    assert levels.bounds[0] == 0
    assert levels.bounds[-1] == count
    for first, end in zip(levels.bounds[:-1], levels.bounds[1:], strict=True):
        for wanted in (levels.before[first:end], levels.needs[first:end]):
            assert (wanted[wanted < count] < first).all()
        # Of a rank at most one pass: what a stream sends goes in the order of its passes.
        ranks = levels.stream[first:end] // 3
        assert np.unique(ranks).size == ranks.size


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_stage_opens_once_and_is_cut_once(name: str) -> None:
    chunks = least_chunks(name)
    schedule = build_schedule(name, 4, 8, chunks)
    made = program(ScheduleKey(schedule))
    last = Phase.W if schedule.splits_backward else Phase.B
    for marks, phase in ((made.opens, Phase.F), (made.cut, last)):
        passes = [found for level in marks.values() for found in level]
        assert sorted(stage for _, stage in passes) == list(range(schedule.num_stages))
        for place, stage in passes:
            assert made.levels.duration[place] == phase * schedule.num_stages + stage


def test_programs_are_kept_by_schedule() -> None:
    schedule = build_schedule("1f1b", 2, 4, 1)
    assert program(ScheduleKey(schedule)) is program(ScheduleKey(schedule))
