"""Distinct rows of integer columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.numeric import IntArray


def codes(columns: Sequence[IntArray]) -> IntArray:
    """One number per row, equal where all columns are."""
    code = np.zeros(columns[0].size, dtype=np.int64)
    for column in columns:
        code = code * (int(column.max(initial=0)) + 1) + column
    return code


def distinct(columns: Sequence[IntArray]) -> tuple[IntArray, IntArray]:
    """The distinct rows [distinct, columns], and which of them every row is."""
    _, first, inverse = np.unique(codes(columns), return_index=True, return_inverse=True)
    return np.stack([column[first] for column in columns], axis=1), inverse
