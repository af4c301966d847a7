import pytest

from simulator.published.metrics import error_statistics, relative_error


def test_by_hand() -> None:
    """Errors +10, -20, +30, -40 %: bias -5, mean 25, median 25, worst 40 %.

    90th percentile of 10, 20, 30, 40: position 0.9 * 3 = 2.7, so 30 + 0.7 * 10 = 37.
    """
    statistics = error_statistics([0.1, -0.2, 0.3, -0.4])
    assert statistics.compared == 4
    assert statistics.bias == pytest.approx(-0.05)
    assert statistics.mape == pytest.approx(0.25)
    assert statistics.median == pytest.approx(0.25)
    assert statistics.p90 == pytest.approx(0.37)
    assert statistics.worst == pytest.approx(0.4)
    assert statistics.within_10_percent == 0.25
    assert statistics.within_20_percent == 0.5


def test_nothing_to_compare() -> None:
    statistics = error_statistics([])
    assert statistics.compared == 0
    assert statistics.mape is None


def test_relative_error_has_the_sign_of_the_prediction() -> None:
    assert relative_error(3.0, 2.0) == 0.5
    assert relative_error(1.0, 2.0) == -0.5
