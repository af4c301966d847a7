"""Do the ranges of predictions hold what was measured?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from simulator.published.results import RowResult


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


def range_statistics(rows: Iterable[RowResult]) -> RangeStatistics | None:
    """Over rows marked test; None where none has a range."""
    found = [
        (row.range_low_s, row.measured_step_time_s, row.range_high_s, row.predicted_step_time_s)
        for row in rows
        if row.role == "test"
    ]
    known = [
        (low, measured, high, predicted)
        for low, measured, high, predicted in found
        if low is not None and measured is not None and high is not None and predicted is not None
    ]
    if not known:
        return None
    return RangeStatistics(
        count=len(known),
        inside=fmean(low <= measured <= high for low, measured, high, _ in known),
        below=fmean(measured < low for low, measured, _, _ in known),
        above=fmean(measured > high for _, measured, high, _ in known),
        width=fmean((high - low) / predicted for low, _, high, predicted in known),
    )
