"""Plans that no other plan beats in everything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.numeric import FloatArray, IntArray


def pareto_front(values: Sequence[FloatArray]) -> IntArray:
    """Rows of which no other row is at least as small in every column and smaller in one.

    Of equal rows the first is kept. Sorted by the first column, then the others.

    Args:
        values: columns to be minimised, [rows] each.
    """
    order = np.lexsort(tuple(reversed(values)))
    table = np.stack([column[order] for column in values], axis=1)
    kept: list[int] = []
    front = np.empty((0, len(values)))
    for place, row in enumerate(table):
        # Earlier rows are no larger in the first column: one that is no larger elsewhere wins.
        if len(front) and bool((front <= row).all(axis=1).any()):
            continue
        kept.append(place)
        front = table[kept]
    return order[np.array(kept, dtype=np.int64)]
