"""Every schedule of the table: valid, and equal to the closed forms of its paper.

With equal stages and free messages the closed forms are exact; durations are small integers, so
that sums of floats are exact too.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import ScheduleError, UnknownNameError
from simulator.schedule.action import format_schedule, looping_placement, parse_schedule
from simulator.schedule.analysis import (
    bubble,
    bubble_fraction,
    inflight,
    peak_held,
    unit_makespan,
)
from simulator.schedule.interleaved import steady_warmup, warmup_forwards
from simulator.schedule.table import SCHEDULES, build_schedule
from simulator.schedule.validate import validate

HAND_WRITTEN = {
    ("gpipe", 2, 2, 1): "0F0 0F1 0B0 0B1\n1F0 1F1 1B0 1B1",
    ("1f1b", 1, 2, 1): "0F0 0B0 0F1 0B1",
    ("1f1b", 2, 3, 1): "0F0 0F1 0B0 0F2 0B1 0B2\n1F0 1B0 1F1 1B1 1F2 1B2",
    # Warm-up of rank 0: 2 * (2 - 0 - 1) + (2 - 1) * 2 = 4 chunks, of rank 1: 2; then F and B.
    ("interleaved", 2, 4, 2): (
        "0F0 0F1 2F0 2F1 0F2 2B0 0F3 2B1 2F2 0B0 2F3 0B1 2B2 2B3 0B2 0B3\n"
        "1F0 1F1 3F0 3B0 3F1 3B1 1F2 1B0 1F3 1B1 3F2 3B2 3F3 3B3 1B2 1B3"
    ),
    # m == p: all forwards first.
    ("interleaved", 2, 2, 2): "0F0 0F1 2F0 2F1 2B0 2B1 0B0 0B1\n1F0 1F1 3F0 3F1 3B0 3B1 1B0 1B1",
    # m == p as with more microbatches: rank 1 starts a backward after 2 warm-up forwards and one.
    ("interleaved-steady", 2, 2, 2): (
        "0F0 0F1 2F0 2F1 2B0 2B1 0B0 0B1\n1F0 1F1 3F0 3B0 3F1 3B1 1B0 1B1"
    ),
    ("zb-h1", 2, 3, 1): "0F0 0F1 0B0 0W0 0F2 0B1 0W1 0B2 0W2\n1F0 1B0 1F1 1B1 1W0 1F2 1B2 1W1 1W2",
    ("zb-h2", 2, 3, 1): "0F0 0F1 0F2 0B0 0W0 0B1 0W1 0B2 0W2\n1F0 1B0 1F1 1B1 1F2 1B2 1W0 1W1 1W2",
    ("zb-2p", 2, 4, 1): (
        "0F0 0F1 0F2 0B0 0W0 0F3 0B1 0W1 0B2 0W2 0B3 0W3\n"
        "1F0 1B0 1F1 1B1 1F2 1B2 1F3 1B3 1W0 1W1 1W2 1W3"
    ),
    ("zb-v", 1, 1, 2): "0F0 1F0 1B0 1W0 0B0 0W0",
    ("zb-v", 2, 3, 2): (
        "0F0 0F1 0F2 3F0 3B0 3W0 3F1 3B1 3W1 0B0 0W0 3F2 3B2 3W2 0B1 0W1 0B2 0W2\n"
        "1F0 2F0 1F1 2F1 2B0 2W0 1F2 1B0 1W0 2F2 2B1 2W1 1B1 2B2 1B2 1W1 2W2 1W2"
    ),
}


@pytest.mark.parametrize("case", HAND_WRITTEN, ids=str)
def test_small_schedule_as_written_by_hand(case):
    assert format_schedule(build_schedule(*case)) == HAND_WRITTEN[case]


def expected_bubble(name, p, m, v, costs):
    """Bubble in the unit of ``costs`` = (F, B, W) of all of a rank's layers; None if unknown."""
    forward, backward, weight = costs
    idle = p - 1
    match name:
        case "gpipe" | "1f1b":
            return idle * (forward + backward)
        case "interleaved" | "interleaved-steady":
            return idle * (forward + backward) / v
        case "zb-h1" if m >= p:
            return idle * (forward + backward - weight)
        case "zb-h2" if m >= 2 * p - 1:
            return idle * (forward + backward - 2 * weight)
        case "zb-2p" if m >= 3 * p - 2 and forward == backward:
            return idle * max(0, forward + backward - 3 * weight)
        case "zb-v" if m >= 2 * p - 1 and forward == backward == weight:
            return 0
        case _:
            return None


def expected_inflight(name, p, m, v):
    """Chunks held by every rank; None if there is no closed form."""
    ranks = range(p)
    match name:
        case "gpipe":
            return [m for _ in ranks]
        case "1f1b":
            return [min(m, p - r) for r in ranks]
        case "interleaved-steady":
            return [min(m * v, steady_warmup(r, p, v) + 1) for r in ranks]
        case "interleaved":
            return [min(m * v, warmup_forwards(r, p, m, v) + 1) for r in ranks]
        case "zb-h1":
            return [min(m, p) for _ in ranks]
        case "zb-h2":
            return [min(m, 2 * p - 1) for _ in ranks]
        case "zb-2p" if m >= 3 * p - 2:
            return [2 * p - 1 + r for r in ranks]
        case "zb-v" if m >= 2 * p - 1:
            return [2 * p for _ in ranks]
        case _:
            return None


def chunk_choices(name):
    return {"interleaved": (2, 3, 4), "interleaved-steady": (2, 3, 4), "zb-v": (2,)}.get(name, (1,))


def check(name, p, m, v):
    """The contract: valid, read back from text, memory and bubble as in the closed forms."""
    schedule = build_schedule(name, p, m, v)
    validate(schedule)
    again = parse_schedule(format_schedule(schedule))
    for column in ("phase", "stage", "microbatch", "stage_rank"):
        np.testing.assert_array_equal(getattr(again, column), getattr(schedule, column))
    assert again.splits_backward == schedule.splits_backward
    held = expected_inflight(name, p, m, v)
    if held is not None:
        assert inflight(schedule).tolist() == held
    # Multiples of 12, so that a chunk's share is a whole number for 2, 3 and 4 chunks.
    for costs in ((12, 12, 12), (24, 24, 12), (120, 144, 96)):
        expected = expected_bubble(name, p, m, v, costs)
        if expected is not None:
            per_chunk = [cost / v for cost in costs]
            assert bubble(schedule, *per_chunk) == expected
            busy = m * sum(costs[: schedule.num_phases])
            assert bubble_fraction(schedule, *per_chunk) == expected / (expected + busy)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("p", [1, 2, 3, 4, 8])
def test_contract(name, p):
    for v in chunk_choices(name):
        for m in (p, 2 * p, 3 * p, 7 * p):
            check(name, p, m, v)


@settings(deadline=None)
@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    p=st.integers(1, 8),
    m=st.integers(1, 24),
    chunk_choice=st.integers(0, 2),
)
def test_contract_for_any_size(name, p, m, chunk_choice):
    if name.startswith("interleaved"):
        m = max(m // p, 1) * p
    choices = chunk_choices(name)
    check(name, p, m, choices[chunk_choice % len(choices)])


@settings(deadline=None)
@given(p=st.integers(1, 8), m=st.integers(1, 24))
def test_zero_bubble_schedules_with_few_microbatches(p, m):
    # Rank 0 cannot begin a backward before 2p - 1; then 2m backward halves follow, so with unit
    # costs it is occupied for 2p - 1 + 2m at least: a bubble of 2p - 1 - m.
    few = 2 * p - 1 - m
    assert bubble(build_schedule("zb-h1", p, m)) == max(p - 1, few)
    assert bubble(build_schedule("zb-h2", p, m)) == max(0, few)
    # A chunk is half a rank's layers; ZB-V then idles twice as many chunks.
    assert bubble(build_schedule("zb-v", p, m, 2)) == max(0, 2 * few)
    assert inflight(build_schedule("zb-v", p, m, 2)).max() <= min(2 * p, 2 * m)


@settings(deadline=None)
@given(p=st.integers(2, 8), groups=st.integers(2, 4))
def test_schedules_rank_as_in_the_papers(p, groups):
    m = p * groups
    whole = {"forward": 2.0, "backward": 4.0}
    split = {"forward": 2.0, "backward": 2.0, "weight": 2.0}
    plain = bubble(build_schedule("1f1b", p, m), **whole)
    assert plain == bubble(build_schedule("gpipe", p, m), **whole)
    assert bubble(build_schedule("zb-h1", p, m), **split) == plain / 3
    assert bubble(build_schedule("zb-h2", p, m), **split) == 0
    halves = build_schedule("interleaved", p, m, 2)
    assert bubble(halves, forward=1.0, backward=2.0) == plain / 2


@settings(deadline=None)
@given(p=st.integers(1, 8), m=st.integers(1, 32))
def test_zb_2p_against_zb_h2(p, m):
    longer, shorter = build_schedule("zb-2p", p, m), build_schedule("zb-h2", p, m)
    for costs in ((1, 1, 1), (3, 3, 2), (2, 2, 1)):
        assert bubble(longer, *costs) <= bubble(shorter, *costs)
    # 0.625 is below two thirds and exact in binary.
    held = [peak_held(s, np.ones(p), weight_share=0.625).max() for s in (longer, shorter)]
    assert held[0] <= held[1]


def test_one_step_of_zb_h2_ends_when_zb_h1_does():
    # Its bubble is zero per rank only: rank r starts r later and ends r later.
    start, end = unit_makespan(build_schedule("zb-h2", 4, 8))
    assert start.tolist() == [0, 1, 2, 3]
    assert end.tolist() == [24, 25, 26, 27]
    assert unit_makespan(build_schedule("zb-h1", 4, 8))[1].max() == 27


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("p", "m"), [(0, 4), (4, 0), (-1, 4)])
def test_nothing_to_schedule(name, p, m):
    with pytest.raises(ScheduleError, match="needs ranks and microbatches"):
        build_schedule(name, p, m, chunk_choices(name)[0])


@pytest.mark.parametrize(
    ("name", "p", "m", "v", "message"),
    [
        ("1f1b", 2, 4, 2, "'1f1b' needs 1 virtual stage(s) per rank, got 2"),
        ("gpipe", 2, 4, 0, "'gpipe' needs 1 virtual stage(s) per rank, got 0"),
        ("zb-h1", 2, 4, 3, "'zb-h1' needs 1"),
        ("zb-h2", 2, 4, 3, "'zb-h2' needs 1"),
        ("zb-2p", 2, 4, 3, "'zb-2p' needs 1"),
        ("zb-v", 2, 4, 1, "'zb-v' needs 2 virtual stage(s) per rank, got 1"),
        ("interleaved", 2, 4, 1, "at least 2 virtual stages per rank, got 1"),
        ("interleaved", 4, 6, 2, "6 is not divisible by pp = 4"),
        ("interleaved", 4, 6, 2, "= 4 or 8"),
        ("interleaved", 4, 3, 2, "= 4,"),
    ],
)
def test_sizes_that_do_not_suit(name, p, m, v, message):
    with pytest.raises(ScheduleError) as caught:
        build_schedule(name, p, m, v)
    assert message in str(caught.value)


def test_unknown_name_lists_near_ones():
    with pytest.raises(UnknownNameError, match="did you mean interleaved"):
        build_schedule("interleave", 2, 4, 2)


def test_cached_schedule_is_read_only():
    schedule = build_schedule("1f1b", 2, 4)
    assert build_schedule("1f1b", 2, 4) is schedule
    with pytest.raises(ValueError, match="read-only"):
        schedule.phase[0, 0] = 1


def test_stages_are_placed_where_the_schedule_says():
    np.testing.assert_array_equal(
        build_schedule("interleaved", 3, 3, 2).stage_rank, looping_placement(3, 2)
    )
    assert build_schedule("zb-v", 3, 5, 2).stage_rank.tolist() == [0, 1, 2, 2, 1, 0]


@pytest.mark.parametrize(("name", "v"), [("1f1b", 1), ("interleaved", 2), ("zb-v", 2)])
def test_large_schedules_are_valid(name, v):
    schedule = build_schedule(name, 64, 640, v)
    assert schedule.phase.size == 64 * 640 * v * schedule.num_phases
    validate(schedule)
