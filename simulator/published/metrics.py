"""Error statistics of predictions against measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class ErrorStatistics:
    """Statistics of e = predicted / measured - 1; None where there is no error to take them of.

    Attributes:
        compared: number of errors.
        bias: mean of e; above 0 predictions are too slow.
        mape, median, p90, worst: mean, median, 90th percentile and maximum of abs(e).
        within_10_percent, within_20_percent: share of rows with abs(e) at most that.
    """

    compared: int
    bias: float | None
    mape: float | None
    median: float | None
    p90: float | None
    worst: float | None
    within_10_percent: float | None
    within_20_percent: float | None


def error_statistics(errors: Sequence[float]) -> ErrorStatistics:
    """Statistics of signed relative errors."""
    if not errors:
        return ErrorStatistics(0, None, None, None, None, None, None, None)
    signed = np.asarray(errors, dtype=np.float64)
    sizes = np.abs(signed)
    return ErrorStatistics(
        compared=len(errors),
        bias=float(signed.mean()),
        mape=float(sizes.mean()),
        median=float(np.median(sizes)),
        p90=float(np.quantile(sizes, 0.9)),
        worst=float(sizes.max()),
        within_10_percent=float((sizes <= 0.1).mean()),
        within_20_percent=float((sizes <= 0.2).mean()),
    )


def relative_error(predicted: float, measured: float) -> float:
    """Signed error of a prediction, predicted / measured - 1."""
    return predicted / measured - 1.0
