from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.search.unique import codes, distinct, first_rows

ROWS = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.lists(st.integers(0, 3), min_size=width, max_size=width), min_size=1, max_size=30
    )
)


@given(rows=ROWS)
def test_distinct_rows_and_their_places(rows: list[list[int]]) -> None:
    columns = list(np.array(rows).T)
    unique, inverse = distinct(columns)
    assert unique.tolist() == sorted({tuple(row): row for row in rows}.values())
    assert unique[inverse].tolist() == rows
    first, again = first_rows(columns)
    assert first.tolist() == [rows.index(row) for row in unique.tolist()]
    assert again.tolist() == inverse.tolist()


def test_more_columns_than_64_bits_hold_are_told_apart() -> None:
    """9 columns of 10 bits: from the seventh on, 2^10k is 0 modulo 2^64."""
    rows = np.zeros((10, 9), dtype=np.int64)
    rows[np.arange(9), np.arange(9)] = 1023
    found = codes(list(rows.T))
    assert np.unique(found).size == 10
    order = sorted(range(10), key=lambda row: rows[row].tolist())
    assert np.argsort(found).tolist() == order


def test_no_rows() -> None:
    unique, inverse = distinct([np.zeros(0, dtype=np.int64)] * 2)
    assert unique.shape == (0, 2)
    assert inverse.size == 0
