"""Passes solved level by level against a loop over ranks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.numeric import FloatArray, whole_ticks
from simulator.schedule.action import Phase, Schedule
from simulator.schedule.dry_run import message_source
from simulator.schedule.table import SCHEDULES, build_schedule, least_chunks
from simulator.search.passes import Beside, Work, solve_passes

BEGIN_S = 2.0**-7


def schedule_of(name: str, ranks: int = 3, microbatches: int = 6) -> Schedule:
    chunks = least_chunks(name)
    return build_schedule(name, ranks, microbatches, chunks)


def one_by_one(
    schedule: Schedule, duration_s: FloatArray, send_s: FloatArray
) -> tuple[list[float], list[float]]:
    """Start of every rank's first pass and end of its last, for one row of durations."""
    ranks, actions = schedule.phase.shape
    source = message_source(schedule)
    starts: dict[int, float] = {}
    arrived: dict[int, float] = {}
    clock, place = [BEGIN_S] * ranks, [0] * ranks
    sent: dict[tuple[int, int], float] = {}
    while min(place) < actions:
        for rank in range(ranks):
            if place[rank] == actions:
                continue
            here = rank * actions + place[rank]
            needed = int(source[rank, place[rank]])
            elsewhere = needed >= 0 and needed // actions != rank
            if elsewhere and needed not in arrived:
                continue
            phase, stage = (
                int(part[rank, place[rank]]) for part in (schedule.phase, schedule.stage)
            )
            starts[here] = max(clock[rank], arrived[needed] if elsewhere else 0.0)
            clock[rank] = starts[here] + duration_s[phase * schedule.num_stages + stage]
            arrived[here] = clock[rank]
            target = stage + {Phase.F: 1, Phase.B: -1}.get(Phase(phase), 0)
            inside = 0 <= target < schedule.num_stages
            if inside and schedule.stage_rank[target] != rank:
                free = max(sent.get((rank, phase), 0.0), clock[rank])
                arrived[here] = sent[rank, phase] = free + send_s[min(stage, target)]
            place[rank] += 1
    return [starts[rank * actions] for rank in range(ranks)], clock


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("sends", [False, True])
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_ends_are_those_of_a_loop_over_ranks(name: str, sends: bool, seed: int) -> None:
    schedule, rows = schedule_of(name), 3
    random = np.random.default_rng(seed)
    duration_s = whole_ticks(random.random((3 * schedule.num_stages, rows)))
    send_s = whole_ticks(random.random((schedule.num_stages, rows)) * sends)
    ends = solve_passes(schedule, Work(duration_s, send_s if sends else None), BEGIN_S)
    for row in range(rows):
        starts, finished = one_by_one(schedule, duration_s[:, row], send_s[:, row])
        assert ends.first_start_s[:, row].tolist() == starts
        assert ends.compute_s[:, row].tolist() == finished


def test_reductions_follow_the_pieces_of_the_last_backward() -> None:
    """One microbatch on 2 ranks: F 1 and B 2 each, begin at 1/128, B in 2 pieces of 1.

    F0 until 1, F1 until 2, B1 until 4 with reductions of 3 from 3: until 6, then until 9.
    B0 runs from 4 to 6, reductions of 3 from 5: until 8, then until 11.
    """
    schedule = schedule_of("1f1b", ranks=2, microbatches=1)
    ones = np.ones((2, 1))
    beside = Beside(
        gathered_s=None,
        reduce_s=3 * ones,
        piece_s=ones,
        last_piece_s=ones,
        pieces=np.full((2, 1), 2),
        stream_s=np.zeros((2, 1)),
    )
    duration_s = np.array([1.0, 1.0, 2.0, 2.0, 0.0, 0.0])[:, None]
    ends = solve_passes(schedule, Work(duration_s, beside=beside), BEGIN_S)
    assert ends.compute_s[:, 0].tolist() == [6 + BEGIN_S, 4 + BEGIN_S]
    assert ends.data_s[:, 0].tolist() == [11 + BEGIN_S, 9 + BEGIN_S]


def test_a_first_forward_waits_for_its_weights() -> None:
    """Stage 1 has its weights at 5: its forward of 1 starts then, F0 at once."""
    schedule = schedule_of("1f1b", ranks=2, microbatches=1)
    none, ones = np.zeros((2, 1)), np.ones((2, 1))
    beside = Beside(
        gathered_s=np.array([[0.0], [5.0]]),
        reduce_s=none,
        piece_s=2 * ones,
        last_piece_s=2 * ones,
        pieces=np.ones((2, 1), dtype=np.int64),
        stream_s=none.copy(),
    )
    duration_s = np.array([1.0, 1.0, 2.0, 2.0, 0.0, 0.0])[:, None]
    ends = solve_passes(schedule, Work(duration_s, beside=beside), BEGIN_S)
    assert ends.first_start_s[:, 0].tolist() == [BEGIN_S, 5.0]
    # F1 5 to 6, B1 to 8, B0 to 10.
    assert ends.compute_s[:, 0].tolist() == [10.0, 8.0]
