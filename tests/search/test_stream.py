"""The closed form of a stream against a loop over its ops."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.numeric import whole_ticks
from simulator.search.stream import served_s

SECONDS = st.floats(0.0, 4.0).map(lambda seconds: float(whole_ticks(np.array(seconds))))


def one_by_one_s(free_s: float, ready_s: float, pace_s: float, count: int, serve_s: float) -> float:
    for op in range(count):
        free_s = max(free_s, ready_s + op * pace_s) + serve_s
    return free_s


@settings(deadline=None)
@given(free_s=SECONDS, ready_s=SECONDS, pace_s=SECONDS, count=st.integers(0, 200), serve_s=SECONDS)
def test_equal_to_serving_one_by_one(
    free_s: float, ready_s: float, pace_s: float, count: int, serve_s: float
) -> None:
    columns = [np.array([value]) for value in (free_s, ready_s, pace_s)]
    found = served_s(*columns, np.array([count]), np.array([serve_s]))
    assert found[0] == one_by_one_s(free_s, ready_s, pace_s, count, serve_s)


def test_what_holds_up_the_end_is_the_stream_the_first_op_or_the_last() -> None:
    """Columns: busy until 10, then 3 ops of 1; slow service from 2; slow ops, the last at 2+2*5."""
    found = served_s(
        free_s=np.array([10.0, 0.0, 0.0, 7.0]),
        ready_s=np.array([2.0, 2.0, 2.0, 2.0]),
        pace_s=np.array([1.0, 1.0, 5.0, 1.0]),
        count=np.array([3, 3, 3, 0]),
        serve_s=np.array([1.0, 4.0, 1.0, 1.0]),
    )
    np.testing.assert_array_equal(found, [13.0, 14.0, 13.0, 7.0])
