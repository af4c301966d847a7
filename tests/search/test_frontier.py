from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.search.frontier import pareto_front

ROWS = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=25)


def test_the_front_keeps_what_nothing_beats() -> None:
    time = np.array([3.0, 1.0, 2.0, 2.0, 4.0])
    memory = np.array([1.0, 9.0, 5.0, 5.0, 1.0])
    # (1, 9), (2, 5) once, (3, 1); (4, 1) is slower than (3, 1) at the same memory.
    assert pareto_front((time, memory)).tolist() == [1, 2, 0]


@given(rows=ROWS)
def test_the_front_is_that_of_comparing_every_pair(rows: list[tuple[int, int, int]]) -> None:
    table = np.array(rows, dtype=np.float64)
    found = [rows[row] for row in pareto_front(tuple(table.T)).tolist()]
    unbeaten = {
        row
        for row in rows
        if not any(
            other != row and all(a <= b for a, b in zip(other, row, strict=True)) for other in rows
        )
    }
    assert found == sorted(unbeaten)
