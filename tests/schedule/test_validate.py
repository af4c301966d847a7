from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import ScheduleError
from simulator.schedule.action import parse_schedule
from simulator.schedule.table import SCHEDULES, build_schedule
from simulator.schedule.validate import validate

GOOD = "0F0 0F1 0B0 0B1\n1F0 1B0 1F1 1B1"


def test_accepts_a_valid_schedule():
    validate(parse_schedule(GOOD))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0F0 0B0 0F1 0F1\n1F0 1B0 1F1 1B1", "0F1 occurs more than once"),
        ("0B0 0F0 0F1 0B1\n1F0 1B0 1F1 1B1", "0B0 comes before 0F0"),
        ("0F0 0B0 1F1 1B1\n1F0 1B0 0F1 0B1", "rank 0 runs 1F1, but stage 1 lies on rank 1"),
        ("0F0 0W0 0B0\n1F0 1B0 1W0", "0W0 comes before 0B0"),
    ],
)
def test_rejects_with_the_rule_broken(text, message):
    with pytest.raises(ScheduleError) as caught:
        validate(parse_schedule(text))
    assert message in str(caught.value)
    assert "<-- ERROR HERE" in str(caught.value)


def test_names_what_is_missing():
    with pytest.raises(ScheduleError) as caught:
        validate(parse_schedule("0F0 0B0 0F1 0F1\n1F0 1B0 1F1 1B1"))
    assert caught.value.hint == "0B1 is missing"


def test_deadlock_prints_who_waits_for_what():
    # Rank 0 waits for the backward of 0 on rank 1, which first wants the forward of 1.
    with pytest.raises(ScheduleError) as caught:
        validate(parse_schedule("0F0 0B0 0F1 0B1\n1F1 1B1 1F0 1B0"))
    assert str(caught.value) == (
        "deadlock: 2 of 2 ranks wait for ever: 0B0 for 1B0, 1F1 for 0F1\n"
        "  actions 0 to 3 of 4:\n"
        "  rank   0 |     0F0   [0B0]     0F1     0B1 <-- ERROR HERE\n"
        "  rank   1 |     1F1     1B1     1F0     1B0\n"
        "  at rank 0, action 1"
    )


def test_deadlock_on_one_rank_is_found():
    # Both stages on one rank: 1F0 stands before the 0F0 that feeds it.
    with pytest.raises(ScheduleError, match="deadlock: 1 of 1 ranks"):
        validate(parse_schedule("1F0 0F0 1B0 0B0"))


def test_grid_stays_small():
    large = build_schedule("1f1b", 64, 200)
    microbatch = large.microbatch.copy()
    microbatch[40, [150, 151]] = microbatch[40, [151, 150]]
    microbatch[40, 300] = microbatch[40, 302]
    with pytest.raises(ScheduleError) as caught:
        validate(replace(large, microbatch=microbatch))
    lines = str(caught.value).splitlines()
    assert len(lines) < 25
    assert max(map(len, lines)) < 140


def test_rejects_wrong_shapes_and_ranges():
    good = parse_schedule(GOOD)
    with pytest.raises(ScheduleError, match="column phase has the shape"):
        validate(replace(good, phase=good.phase[:, :-1]))
    with pytest.raises(ScheduleError, match=r"ranks hold \[2, 0\] stages"):
        validate(replace(good, stage_rank=np.array([0, 0])))
    with pytest.raises(ScheduleError, match="microbatch 9 is not one of 0 to 1"):
        validate(replace(good, microbatch=np.where(good.microbatch == 1, 9, 0)))
    with pytest.raises(ScheduleError, match=r"phase 2 is not one of 0 to 1"):
        validate(replace(good, phase=good.phase + 1))


@settings(deadline=None)
@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    num_ranks=st.integers(2, 5),
    groups=st.integers(1, 3),
    data=st.data(),
)
def test_one_action_replaced_by_another_is_rejected(name, num_ranks, groups, data):
    chunks = 2 if name in ("interleaved", "interleaved-steady", "zb-v") else 1
    good = build_schedule(name, num_ranks, num_ranks * groups, chunks)
    rank = data.draw(st.integers(0, num_ranks - 1))
    actions = good.phase.shape[1]
    target, other = data.draw(
        st.lists(st.integers(0, actions - 1), min_size=2, max_size=2, unique=True)
    )
    columns = {}
    for column in ("phase", "stage", "microbatch"):
        values = getattr(good, column).copy()
        values[rank, target] = values[rank, other]
        columns[column] = values
    with pytest.raises(ScheduleError, match="occurs more than once"):
        validate(replace(good, **columns))


@settings(deadline=None)
@given(name=st.sampled_from(sorted(SCHEDULES)), num_ranks=st.integers(1, 5), data=st.data())
def test_backward_moved_before_its_forward_is_rejected(name, num_ranks, data):
    chunks = 2 if name in ("interleaved", "interleaved-steady", "zb-v") else 1
    good = build_schedule(name, num_ranks, 2 * num_ranks, chunks)
    rank = data.draw(st.integers(0, num_ranks - 1))
    columns = {column: getattr(good, column).copy() for column in ("phase", "stage", "microbatch")}
    # The first action of a rank is a forward; swap it with its own backward.
    same = (good.stage[rank] == good.stage[rank, 0]) & (good.microbatch[rank] == 0)
    backward = np.flatnonzero(same & (good.phase[rank] == 1))[0]
    for values in columns.values():
        values[rank, [0, backward]] = values[rank, [backward, 0]]
    with pytest.raises(ScheduleError, match="comes before"):
        validate(replace(good, **columns))
