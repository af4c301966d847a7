"""The hash by which switches spread flows over equal paths."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from simulator.numeric import IntArray

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)


def choice(num: int, seed: int, *columns: IntArray) -> IntArray:
    """One of ``num`` ways per row, as good as random, the same for equal rows and seed.

    Switches hash addresses and port numbers of a packet (equal-cost multi-path, RFC 2992): flows
    keep their path, and some collide on a link while others stay idle.

    Source: Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators" (the mixing
        function of SplitMix64).

    Args:
        num: of ways.
        seed: of the hash; switches of different tiers have different ones.
        columns: what is hashed, [rows] each.
    """
    if num == 1:
        return np.zeros_like(columns[0])
    state = np.full(columns[0].shape, seed, dtype=np.int64).view(np.uint64)
    for column in columns:
        state = _mixed(state ^ np.ascontiguousarray(column, dtype=np.int64).view(np.uint64))
    # The remainder of 53 bits by a few thousand ways is uniform to 1e-12.
    return (state >> np.uint64(11)).astype(np.int64) % num


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + _GOLDEN
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))
