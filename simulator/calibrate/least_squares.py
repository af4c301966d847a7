"""Robust least squares on many subsets of the same rows at once.

Full fit, cross-validation folds and sources left out differ only in the rows that count. They go
in lockstep, so that one evaluation of the model (one lowered graph per row) serves all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.numeric import BoolArray, FloatArray
from simulator.progress import Progress, silent

Evaluate = Callable[[FloatArray], FloatArray]
"""Log parameters [points, parameters] -> residuals log(predicted / measured) [points, rows]."""

TOLERATED_ERROR: Final = 0.05
"""c of the soft-L1 loss: errors beyond count linearly, so that outliers do not rule."""
_DIFFERENCE: Final = 0.02
"""Step of the finite differences in log parameters: 2 %, well above the kinks of maxima."""
_MAX_STEP: Final = 0.5
MAX_ROUNDS: Final = 14
_CONVERGED: Final = 1e-3
_RIDGE: Final = 1e-6
"""Keeps a parameter that no row depends on where it is."""
_INSENSITIVE: Final = 1e-3
"""Root mean square of d log(time) / d log(parameter) below which nothing is learnt."""


@dataclass(frozen=True, slots=True)
class Solution:
    """Fits of all subsets.

    Attributes:
        log_values: [subsets, parameters].
        residuals: of all rows, those left out too. [subsets, rows].
        relative_errors: standard error of log_values from the sandwich estimator; inf where the
            rows do not determine a parameter. [subsets, parameters].
        at_bound: [subsets, parameters].
    """

    log_values: FloatArray
    residuals: FloatArray
    relative_errors: FloatArray
    at_bound: BoolArray


@dataclass(slots=True)
class _State:
    x: FloatArray
    residuals: FloatArray
    jacobian: FloatArray
    loss: FloatArray


def soft_l1(residuals: FloatArray) -> FloatArray:
    """sqrt(1 + (r / c)^2) - 1."""
    return np.sqrt(1.0 + (residuals / TOLERATED_ERROR) ** 2) - 1.0


def solve(
    evaluate: Evaluate,
    masks: BoolArray,
    starts: FloatArray,
    bounds: tuple[FloatArray, FloatArray],
    progress: Progress = silent,
    max_rounds: int = MAX_ROUNDS,
    num_priors: int = 0,
) -> Solution:
    """Minimises the mean soft-L1 loss of every subset by damped Gauss-Newton steps.

    Args:
        evaluate: the model.
        masks: rows that count. [subsets, rows], at least one each.
        starts: points among which every subset starts at its best. [starts, parameters].
        bounds: lowest and highest log parameters. [parameters] each.
        progress: told after every step how many were taken; how many it takes nobody knows.
        max_rounds: steps at most.
        num_priors: last rows that are no measurements, but hold parameters where they start. They
            tell nothing of how well a parameter is known.
    """
    low, high = bounds
    residuals = evaluate(np.clip(starts, low, high))
    losses = _losses(residuals[:, None, :], masks)  # [starts, subsets]
    x = np.clip(starts, low, high)[losses.argmin(axis=0)]
    best = _at(evaluate, x, masks, bounds)
    damping = np.full(len(masks), 1e-3)
    for done in range(1, max_rounds + 1):
        step = _steps(best, masks, bounds, damping)
        if np.abs(step).max(initial=0.0) < _CONVERGED:
            break
        trial = _at(evaluate, best.x + step, masks, bounds)
        progress("Fitting", done, None)
        better = trial.loss <= best.loss
        best = _State(
            np.where(better[:, None], trial.x, best.x),
            np.where(better[:, None], trial.residuals, best.residuals),
            np.where(better[:, None, None], trial.jacobian, best.jacobian),
            np.where(better, trial.loss, best.loss),
        )
        damping = np.where(better, damping / 5.0, damping * 10.0)
    measured = masks.copy()
    measured[:, masks.shape[1] - num_priors :] = False
    errors = _relative_errors(best, measured)
    edge = (best.x <= low + 1e-6) | (best.x >= high - 1e-6)
    return Solution(best.x, best.residuals, errors, edge)


def _losses(residuals: FloatArray, masks: BoolArray) -> FloatArray:
    """Mean loss over the rows that count. [..., subsets]."""
    return (soft_l1(residuals) * masks).sum(axis=-1) / np.maximum(masks.sum(axis=-1), 1)


def _at(
    evaluate: Evaluate, x: FloatArray, masks: BoolArray, bounds: tuple[FloatArray, FloatArray]
) -> _State:
    """Residuals and their derivatives at one point per subset, in one evaluation."""
    subsets, num = x.shape
    # Differences point into the bounds.
    delta = np.where(x + _DIFFERENCE <= bounds[1], _DIFFERENCE, -_DIFFERENCE)
    points = np.repeat(x[:, None, :], num + 1, axis=1)
    points[:, np.arange(1, num + 1), np.arange(num)] += delta
    values = evaluate(points.reshape(-1, num)).reshape(subsets, num + 1, -1)
    base = values[:, 0]
    jacobian = np.moveaxis((values[:, 1:] - base[:, None, :]) / delta[:, :, None], 1, 2)
    return _State(x, base, jacobian, _losses(base, masks))


def _weights(state: _State, masks: BoolArray) -> FloatArray:
    """Weights under which least squares has the gradient of the soft-L1 loss."""
    return masks / np.sqrt(1.0 + (state.residuals / TOLERATED_ERROR) ** 2)


def _steps(
    state: _State,
    masks: BoolArray,
    bounds: tuple[FloatArray, FloatArray],
    damping: FloatArray,
) -> FloatArray:
    """Damped Gauss-Newton step of every subset, inside the bounds."""
    low, high = bounds
    weights = _weights(state, masks)
    gradient = np.einsum("frp,fr->fp", state.jacobian, weights * state.residuals)
    hessian = np.einsum("frp,fr,frq->fpq", state.jacobian, weights, state.jacobian)
    # A parameter at a bound that would leave it stays there.
    fixed = ((state.x <= low) & (gradient > 0)) | ((state.x >= high) & (gradient < 0))
    free = (~fixed).astype(np.float64)
    hessian = hessian * free[:, :, None] * free[:, None, :]
    diagonal = np.einsum("fpp->fp", hessian)
    added = diagonal * damping[:, None] + _RIDGE + fixed
    hessian = hessian + np.eye(low.size) * added[:, :, None]
    right: FloatArray = (gradient * free)[:, :, None]
    step: FloatArray = -np.asarray(np.linalg.solve(hessian, right), dtype=np.float64)[:, :, 0]
    return np.clip(state.x + np.clip(step, -_MAX_STEP, _MAX_STEP), low, high) - state.x


def _relative_errors(state: _State, masks: BoolArray) -> FloatArray:
    """sqrt(diag(H^-1 S H^-1) n / (n - p)), H the weighted J'J and S that of the scores.

    Source: Huber 1967; the correction is HC1 of MacKinnon and White 1985.
    """
    weights = _weights(state, masks)
    count, num = masks.sum(axis=-1), state.x.shape[1]
    hessian = np.einsum("frp,fr,frq->fpq", state.jacobian, weights, state.jacobian)
    scores = state.jacobian * (weights * state.residuals)[:, :, None]
    spread = np.einsum("frp,frq->fpq", scores, scores)
    inverse: FloatArray = np.asarray(np.linalg.pinv(hessian), dtype=np.float64)
    variance = np.einsum("fpp->fp", inverse @ spread @ inverse)
    factor = count / np.maximum(count - num, 1)
    errors = np.sqrt(np.maximum(variance, 0.0) * factor[:, None])
    used = masks.sum(axis=-1)[:, None]
    slopes = np.sqrt(np.einsum("frp,fr->fp", state.jacobian**2, masks) / np.maximum(used, 1))
    return np.where((slopes < _INSENSITIVE) | (count <= num)[:, None], np.inf, errors)
