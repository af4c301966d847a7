"""Numbers that are either one value or a column of a sweep.

Every cost function is arithmetic on ``Numeric``: it serves one run and a million-row sweep
alike, so it never branches on a number (use ``np.where``) and never loops over rows.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]
Numeric: TypeAlias = float | FloatArray
"""One value, or a float64 array that broadcasts against the other arguments."""
Integral: TypeAlias = int | IntArray

TICK_S: Final = 2.0**-40
"""The unit in which ops are timed: 0.9 ps. Sums of whole ticks are exact in float64 up to 2^53 of
them, 8,192 s, whatever their order: a period of a pipeline can be skipped, and a search that adds
the same durations otherwise than a run ends at the same last bit."""


def ceil_div(numerator: int, denominator: int) -> int:
    """Smallest integer not below numerator / denominator, exact for any size."""
    return -(-numerator // denominator)


def whole_ticks(seconds: FloatArray) -> FloatArray:
    """The nearest whole number of ticks. [...] of [...]."""
    ticks: FloatArray = np.rint(seconds / TICK_S)
    return ticks * TICK_S


def as_float(value: Numeric) -> float:
    """The one value held by ``value``.

    Raises:
        ValueError: if ``value`` holds more than one number.
    """
    return float(np.asarray(value, dtype=np.float64).item())
