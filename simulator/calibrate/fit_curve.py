"""Fits the constants of one cost function to measured kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.calibrate.least_squares import Solution, solve
from simulator.calibrate.subsets import NUM_FOLDS
from simulator.errors import SpecError
from simulator.numeric import FloatArray
from simulator.progress import Progress, named, silent
from simulator.published.metrics import ErrorStatistics, error_statistics

_PRIOR: Final = 0.02
"""Residual of a constant that is e times its start, one extra row each: too little to move what
the data tell, enough to keep what they do not."""
_MAX_ROUNDS: Final = 60
_UNTOLD: Final = 1.0
"""Standard error of a logarithm from which on the data do not tell a constant."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant to fit, on its logarithm.

    Attributes:
        start: value in the description that is extended.
        low, high: what is physical.
    """

    name: str
    start: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class FittedConstant:
    """A constant before and after; ``relative_error`` is inf where the data do not tell."""

    name: str
    base: float
    value: float
    relative_error: float
    at_bound: bool


@dataclass(frozen=True, slots=True)
class CurveFit:
    """The constants of one curve and its errors, in sample and on folds held out.

    Attributes:
        base_factor: between the measured times and those of the base, the typical one, at least 1.
    """

    name: str
    constants: tuple[FittedConstant, ...]
    base: ErrorStatistics
    in_sample: ErrorStatistics
    held_out: ErrorStatistics
    base_factor: float

    @property
    def values(self) -> dict[str, float]:
        """Fitted value of every constant."""
        return {constant.name: constant.value for constant in self.constants}


Predict = Callable[[Mapping[str, float]], FloatArray]
"""Constants -> predicted seconds [rows]."""


def fit_curve(
    name: str,
    constants: Sequence[Constant],
    predict: Predict,
    measured_s: FloatArray,
    progress: Progress = silent,
) -> CurveFit:
    """Robust least squares of log(predicted / measured) in the logarithms of the constants.

    Raises:
        SpecError: if there are not more rows than constants.
    """
    num_rows, num = measured_s.size, len(constants)
    if num_rows <= num:
        what = "1 measurement is" if num_rows == 1 else f"{num_rows} measurements are"
        whose = "the constant" if num == 1 else f"the {num} constants"
        raise SpecError(
            f"{what} too few for {whose} of {name}",
            hint=f"measure at least {num + 1} shapes, better {10 * num}",
        )
    low = np.log([constant.low for constant in constants])
    high = np.log([constant.high for constant in constants])
    start = np.clip(np.log([max(c.start, c.low) for c in constants]), low, high)

    def evaluate(points: FloatArray) -> FloatArray:
        rows = [_residuals(constants, predict, measured_s, point) for point in points]
        return np.concatenate((np.stack(rows), _PRIOR * (points - start)), axis=1)

    fold = np.arange(num_rows) % NUM_FOLDS
    masks = np.ones((1 + NUM_FOLDS, num_rows + num), dtype=np.bool_)
    for k in range(NUM_FOLDS):
        masks[1 + k, :num_rows] = fold != k
    told = named(progress, name)
    told("Fitting", 0, None)
    solution = solve(evaluate, masks, start[None, :], (low, high), told, _MAX_ROUNDS, num)
    held_out = solution.residuals[1 + fold, np.arange(num_rows)]
    base = _residuals(constants, predict, measured_s, start)
    return CurveFit(
        name,
        tuple(_fitted(constant, solution, i) for i, constant in enumerate(constants)),
        _statistics(base),
        _statistics(solution.residuals[0, :num_rows]),
        _statistics(held_out),
        math.exp(abs(float(np.median(base)))),
    )


def _fitted(constant: Constant, solution: Solution, index: int) -> FittedConstant:
    """A constant as fitted on all rows."""
    return FittedConstant(
        constant.name,
        constant.start,
        float(np.exp(solution.log_values[0, index])),
        _told(float(solution.relative_errors[0, index])),
        bool(solution.at_bound[0, index]),
    )


def _told(relative_error: float) -> float:
    return relative_error if relative_error < _UNTOLD else math.inf


def _residuals(
    constants: Sequence[Constant], predict: Predict, measured_s: FloatArray, point: FloatArray
) -> FloatArray:
    values = {c.name: float(v) for c, v in zip(constants, np.exp(point), strict=True)}
    return np.log(predict(values) / measured_s)


def _statistics(residuals: FloatArray) -> ErrorStatistics:
    return error_statistics(np.expm1(residuals).tolist())
