import numpy as np
import pytest

from simulator.schedule.action import parse_schedule
from simulator.schedule.analysis import (
    bubble,
    bubble_fraction,
    inflight,
    inflight_ranks,
    peak_held,
    peak_open,
    unit_makespan,
)
from simulator.schedule.dry_run import dry_run, message_source
from simulator.schedule.table import build_schedule

TWO_RANKS = parse_schedule("0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1")


def test_dry_run_by_hand():
    # F = 1, B = 2. Rank 1: F0 1-2, B0 2-4, F1 4-5, B1 5-7. Rank 0: F 0-1, 1-2, B0 4-6, B1 7-9.
    ran = dry_run(TWO_RANKS, forward=1, backward=2, weight=0)
    assert ran.start.tolist() == [[0, 1, 4, 7], [1, 2, 4, 5]]
    assert ran.end.tolist() == [[1, 2, 6, 9], [2, 4, 5, 7]]


def test_dry_run_marks_what_never_runs():
    ran = dry_run(parse_schedule("0F0 0B0 0F1 0B1\n1F1 1B1 1F0 1B0"), 1, 1, 1)
    assert ran.end[0, 0] == 1
    assert np.isnan(ran.end).sum() == 7


def test_messages_by_hand():
    # Flat indices: rank 0 holds 0 to 3, rank 1 holds 4 to 7.
    assert message_source(TWO_RANKS).tolist() == [[-1, -1, 5, 7], [0, 4, 1, 6]]


def test_makespan_and_bubble_by_hand():
    start, end = unit_makespan(TWO_RANKS, forward=1, backward=2)
    assert start.tolist() == [0, 1]
    assert end.tolist() == [9, 7]
    # Rank 0 is occupied for 9 and computes 2 * (1 + 2) = 6.
    assert bubble(TWO_RANKS, 1, 2) == 3
    assert bubble_fraction(TWO_RANKS, 1, 2) == pytest.approx(3 / 9, rel=1e-15)  # one rounding


def test_inflight_by_hand():
    assert inflight(TWO_RANKS).tolist() == [2, 1]


def test_inflight_counts_until_weights_are_done():
    # After F0 B0 F1 B1 both microbatches still wait for W.
    schedule = parse_schedule("0F0 0B0 0F1 0B1 0W0 0W1")
    assert inflight(schedule).tolist() == [2]
    # If W needs 0.5 of an activation: F 1, B 0.5, F 1.5, B 1.
    assert peak_held(schedule, np.ones(1), weight_share=0.5).tolist() == [1.5]
    assert peak_held(schedule, np.ones(1), weight_share=0.0).tolist() == [1.0]


def test_weight_share_is_moot_when_backward_is_whole():
    assert peak_held(TWO_RANKS, np.ones(2), weight_share=0.5).tolist() == [2, 1]


def test_inflight_in_whole_ranks():
    # ZB-V holds 2p chunks of half a rank's layers: p microbatches, as 1F1B's first rank.
    schedule = build_schedule("zb-v", 4, 16, 2)
    assert inflight_ranks(schedule).tolist() == [4, 4, 4, 4]


def test_peak_of_uneven_stages():
    # One rank, stages of size 3 and 1: 0F0 1F0 1B0 0B0 holds 3, 4, 3, 0.
    schedule = parse_schedule("0F0 1F0 1B0 0B0")
    assert peak_held(schedule, np.array([3.0, 1.0])).tolist() == [4]


def test_peak_row_of_batch_equals_single():
    schedule = build_schedule("interleaved", 4, 8, 2)
    sizes = np.arange(24.0).reshape(3, 8)
    batch = peak_held(schedule, sizes)
    assert batch.shape == (3, 4)
    for row, size in zip(batch, sizes, strict=True):
        np.testing.assert_array_equal(row, peak_held(schedule, size))


@pytest.mark.parametrize(
    ("name", "p", "m", "v", "rank", "most"),
    [
        # One stage: whole from its first backward to its last.
        ("1f1b", 2, 3, 1, 0, 1.0),
        # "2B0 2B1 0B0 0B1": stage 2 is done before stage 0 begins. Sizes are 1 + stage.
        ("interleaved", 2, 2, 2, 0, 3.0),
        # "2B0 2B1 0B0 0B1 2B2 2B3 0B2 0B3": stage 2 is open until its fourth microbatch.
        ("interleaved", 2, 4, 2, 0, 4.0),
        ("zb-h1", 2, 3, 1, 1, 2.0),
    ],
)
def test_stages_whose_backwards_are_open(name, p, m, v, rank, most):
    schedule = build_schedule(name, p, m, v)
    assert peak_open(schedule, rank, 1.0 + np.arange(p * v)) == most
