"""Robust least squares: known solutions, bounds, outliers, and subsets in lockstep."""

import numpy as np
import pytest

from simulator.calibrate.least_squares import soft_l1, solve

BOUNDS = (np.log([0.5, 0.5]), np.log([3.0, 3.0]))
STARTS = np.log([[1.0, 1.0], [2.0, 2.0]])
SHARES = np.linspace(0.0, 1.0, 21)
TRUTH = np.array([1.3, 1.7])


def model(points, measured):
    """Time = a share + b (1 - share), a kind of kernels each."""
    a, b = np.exp(points).T
    predicted = a[:, None] * SHARES + b[:, None] * (1 - SHARES)
    return np.log(predicted / measured)


MEASURED = TRUTH[0] * SHARES + TRUTH[1] * (1 - SHARES)


def test_exact_data_give_the_truth() -> None:
    masks = np.ones((1, 21), dtype=bool)
    found = solve(lambda p: model(p, MEASURED), masks, STARTS, BOUNDS)
    # tolerance: steps end below 1e-3 in the logarithm, where convergence is quadratic
    assert np.exp(found.log_values[0]) == pytest.approx(TRUTH, rel=1e-3)
    assert np.abs(found.residuals).max() < 1e-3
    assert not found.at_bound.any()


def test_outliers_do_not_rule() -> None:
    measured = MEASURED.copy()
    measured[[3, 11]] *= 2.0
    masks = np.ones((1, 21), dtype=bool)
    found = solve(lambda p: model(p, measured), masks, STARTS, BOUNDS)
    # plain least squares would move both by 2 / 21 * log 2 = 7 %
    assert np.exp(found.log_values[0]) == pytest.approx(TRUTH, rel=0.02)


def test_subsets_in_lockstep_equal_fits_alone() -> None:
    noisy = MEASURED * np.exp(0.05 * np.sin(7.0 * np.arange(21)))
    masks = np.ones((3, 21), dtype=bool)
    masks[1, ::2] = False
    masks[2, 10:] = False
    together = solve(lambda p: model(p, noisy), masks, STARTS, BOUNDS)
    for i, mask in enumerate(masks):
        alone = solve(lambda p: model(p, noisy), mask[None], STARTS, BOUNDS)
        # tolerance: the others may take another round after one has converged
        assert together.log_values[i] == pytest.approx(alone.log_values[0], abs=2e-3)


def test_a_bound_holds() -> None:
    masks = np.ones((1, 21), dtype=bool)
    bounds = (np.log([0.5, 0.5]), np.log([1.2, 3.0]))
    found = solve(lambda p: model(p, MEASURED), masks, STARTS, bounds)
    assert np.exp(found.log_values[0, 0]) == pytest.approx(1.2)
    assert found.at_bound.tolist() == [[True, False]]


def test_what_no_row_depends_on_is_not_known() -> None:
    masks = np.ones((1, 21), dtype=bool)
    found = solve(lambda p: np.repeat(p[:, :1], 21, axis=1) - 0.2, masks, STARTS, BOUNDS)
    assert found.log_values[0, 0] == pytest.approx(0.2, abs=1e-3)
    assert np.isinf(found.relative_errors[0, 1])


def test_standard_error_is_that_of_a_mean() -> None:
    """One parameter, log time = x: the fit is a mean, its error that of a mean."""
    noise = 0.01 * np.array([1.0, -1.0] * 50)
    masks = np.ones((1, 100), dtype=bool)
    bounds = (np.array([-1.0]), np.array([1.0]))
    found = solve(lambda p: p + noise, masks, np.zeros((1, 1)), bounds)
    # sigma / sqrt(n - 1) = 0.01 / sqrt(99); all weights are equal, so that they cancel
    assert found.relative_errors[0, 0] == pytest.approx(0.01 / np.sqrt(99), rel=1e-6)


def test_soft_l1() -> None:
    # r = c sqrt(3): sqrt(1 + 3) - 1 = 1
    assert soft_l1(np.array([0.0, 0.05 * np.sqrt(3)])) == pytest.approx([0.0, 1.0])
