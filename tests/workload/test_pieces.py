from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.schedule.action import Phase, Schedule, parse_schedule
from simulator.schedule.table import build_schedule
from simulator.workload.pieces import cut_into_pieces


def counts_of(schedule: Schedule, **pieces: int) -> np.ndarray:
    counts = np.ones((3, schedule.num_stages, schedule.num_microbatches), dtype=np.int64)
    for phase, count in pieces.items():
        counts[Phase[phase]] = count
    return counts


def test_pieces_by_hand() -> None:
    schedule = parse_schedule("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1")
    pieces = cut_into_pieces(schedule, counts_of(schedule, B=2))
    # Rank 0: F0 F1 B0 B0' B1 B1', rank 1: F0 B0 B0' F1 B1 B1'
    assert pieces.rank.tolist() == [0] * 6 + [1] * 6
    assert pieces.phase.tolist() == [0, 0, 1, 1, 1, 1, 0, 1, 1, 0, 1, 1]
    assert pieces.microbatch.tolist() == [0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 1]
    assert pieces.index.tolist() == [0, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1]
    assert pieces.order.tolist() == [0, 1, 2, 3, 4, 5] * 2
    assert pieces.first[Phase.B].tolist() == [[2, 4], [7, 10]]
    assert pieces.last[Phase.B].tolist() == [[3, 5], [8, 11]]
    assert pieces.first[Phase.F].tolist() == pieces.last[Phase.F].tolist() == [[0, 1], [6, 9]]
    assert (pieces.first[Phase.W] == -1).all()
    assert pieces.end == 6.0


@given(
    st.sampled_from([("1f1b", 1), ("interleaved", 2), ("zb-h1", 1), ("zb-v", 2)]),
    st.integers(1, 4),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_every_pass_is_cut_into_its_pieces(
    name: tuple[str, int], ranks: int, rounds: int, random: object
) -> None:
    schedule = build_schedule(name[0], ranks, ranks * rounds, name[1])
    shape = (3, schedule.num_stages, schedule.num_microbatches)
    counts = np.array([random.randint(1, 3) for _ in range(np.prod(shape))]).reshape(shape)
    pieces = cut_into_pieces(schedule, counts)
    for phase in range(schedule.num_phases):
        for stage in range(schedule.num_stages):
            for microbatch in range(schedule.num_microbatches):
                first, last = (
                    int(bound[phase, stage, microbatch]) for bound in (pieces.first, pieces.last)
                )
                count = counts[phase, stage, microbatch]
                assert last - first + 1 == count
                assert pieces.index[first : last + 1].tolist() == list(range(count))
                assert set(pieces.count[first : last + 1].tolist()) == {count}
                assert set(pieces.phase[first : last + 1].tolist()) == {phase}
                assert set(pieces.rank[first : last + 1].tolist()) == {schedule.stage_rank[stage]}
    # The places of a rank are one apart, in the schedule's order.
    for rank in range(ranks):
        mine = pieces.order[pieces.rank == rank]
        assert mine.tolist() == list(range(mine.size))
        wholes = (pieces.rank == rank) & (pieces.index == 0)
        np.testing.assert_array_equal(pieces.phase[wholes], schedule.phase[rank])
        np.testing.assert_array_equal(pieces.microbatch[wholes], schedule.microbatch[rank])
    assert pieces.end > pieces.order.max()
