"""Do the ranges of predictions hold what was measured?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

RangedTime = tuple[float, float, float, float]
"""Lower bound, measured time, upper bound and predicted time of one run."""


@dataclass(frozen=True, slots=True)
class RangeStatistics:
    """Ranges of predicted step times against measured ones.

    Attributes:
        count: rows with a range and a measured time.
        inside: share of them measured within the range; ``below`` and ``above`` it the others.
        width: mean of (high - low) / predicted.
    """

    count: int
    inside: float
    below: float
    above: float
    width: float


def range_statistics(times: Sequence[RangedTime]) -> RangeStatistics | None:
    """Statistics over some runs; None over none."""
    if not times:
        return None
    return RangeStatistics(
        count=len(times),
        inside=fmean(low <= measured <= high for low, measured, high, _ in times),
        below=fmean(measured < low for low, measured, _, _ in times),
        above=fmean(measured > high for _, measured, high, _ in times),
        width=fmean((high - low) / predicted for low, _, high, predicted in times),
    )
