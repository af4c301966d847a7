"""Distinct rows of integer columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from simulator.numeric import IntArray

_LARGEST_CODE: Final = 2**63 - 1


def codes(columns: Sequence[IntArray]) -> IntArray:
    """One number per row, equal where all columns are, in the order of the rows.

    Assumes: no entry is negative.
    """
    code, size = np.zeros(columns[0].size, dtype=np.int64), 1
    for column in columns:
        values = int(column.max(initial=0)) + 1
        if size * values > _LARGEST_CODE:
            # The product of many columns outgrows 64 bits; the rows there are do not.
            _, code = np.unique(code, return_inverse=True)
            size = int(code.max(initial=0)) + 1
        code, size = code * values + column, size * values
    return code


def first_rows(columns: Sequence[IntArray]) -> tuple[IntArray, IntArray]:
    """The first row of all that are equal [distinct], and which of these every row is."""
    _, first, inverse = np.unique(codes(columns), return_index=True, return_inverse=True)
    return first, inverse


def distinct(columns: Sequence[IntArray]) -> tuple[IntArray, IntArray]:
    """The distinct rows [distinct, columns], and which of them every row is."""
    first, inverse = first_rows(columns)
    return np.stack([column[first] for column in columns], axis=1), inverse
