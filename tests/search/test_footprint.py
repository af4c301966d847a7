from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.schedule.analysis import peak_open
from simulator.schedule.table import SCHEDULES, build_schedule, least_chunks
from simulator.search.footprint import open_sets, undominated


@pytest.mark.parametrize("name", SCHEDULES)
@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_open_sets_hold_the_peak_of_any_sizes(name: str, data: st.DataObject) -> None:
    chunks = least_chunks(name)
    schedule = build_schedule(name, 3, 6, chunks)
    sizes = st.lists(st.integers(0, 9), min_size=3 * chunks, max_size=3 * chunks)
    size = np.array(data.draw(sizes), dtype=np.float64)
    for rank in range(3):
        own = np.flatnonzero(schedule.stage_rank == rank)
        peak = (open_sets(schedule, rank, own) @ size[own]).max()
        assert peak == peak_open(schedule, rank, size)


STATES = st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=30)


@given(states=STATES, size=st.tuples(*[st.integers(0, 9)] * 3))
def test_what_is_left_out_is_never_the_peak(
    states: list[tuple[int, int, int]], size: tuple[int, int, int]
) -> None:
    table = np.array(states)
    kept = undominated(table)
    assert (kept @ size).max() == (table @ size).max()
    assert {tuple(row) for row in kept.tolist()} <= set(states)
    for row in kept:
        assert np.count_nonzero((kept >= row).all(axis=1)) == 1
