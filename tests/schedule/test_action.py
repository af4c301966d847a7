import numpy as np
import pytest

from simulator.errors import ScheduleError
from simulator.schedule.action import (
    format_action,
    format_schedule,
    looping_placement,
    parse_schedule,
    v_placement,
)

TWO_RANKS = "0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1"


def test_action_text_is_stage_phase_microbatch():
    assert format_action(2, 0, 7) == "0W7"
    assert format_action(0, 2, 0) == "2F0"
    assert format_action(1, 10, 31) == "10B31"


def test_parse_reads_columns():
    schedule = parse_schedule(TWO_RANKS)
    assert (schedule.num_ranks, schedule.num_chunks, schedule.num_microbatches) == (2, 1, 2)
    assert schedule.phase.tolist() == [[0, 0, 1, 1], [0, 1, 0, 1]]
    assert schedule.stage.tolist() == [[0, 0, 0, 0], [1, 1, 1, 1]]
    assert schedule.microbatch.tolist() == [[0, 1, 0, 1], [0, 0, 1, 1]]
    assert schedule.stage_rank.tolist() == [0, 1]
    assert not schedule.splits_backward


def test_parse_finds_placement_and_split_backward():
    schedule = parse_schedule("0F0 3F0 3B0 3W0 0B0 0W0\n1F0 2F0 2B0 1B0 2W0 1W0")
    assert schedule.stage_rank.tolist() == v_placement(2).tolist() == [0, 1, 1, 0]
    assert schedule.splits_backward
    assert schedule.num_stages == 4


def test_text_round_trip():
    assert format_schedule(parse_schedule(TWO_RANKS)) == TWO_RANKS


def test_looping_placement():
    np.testing.assert_array_equal(looping_placement(3, 2), [0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("0F0 0X0", "'0X0' is not an action\n  at rank 0, action 1"),
        ("0F0 0B0\n1F0", "rank 1 has 1 actions, but rank 0 has 2"),
        ("0F0 0B0 1F0 1B0\n2F0 2B0 2F1 2B1", "3 different stages"),
        ("0F0 0B0\n2F0 2B0", "2 different stages up to stage 2"),
    ],
)
def test_parse_rejects(text, message):
    with pytest.raises(ScheduleError) as caught:
        parse_schedule(text)
    assert message in str(caught.value)
