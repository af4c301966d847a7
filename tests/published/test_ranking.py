import pytest

from simulator.published.ranking import ranking_statistics, regret

GROUP = [(10.0, 9.0), (10.4, 8.0), (12.0, 11.0), (20.0, 10.0)]
"""Measured, predicted. Measured order a b c d, predicted b a d c.

a and b are 4 % apart: not a pair. Right: ac, ad, bc, bd; wrong: cd. The pick is b: 10.4 / 10.
"""


def test_order_and_regret_by_hand() -> None:
    found = ranking_statistics([GROUP])
    assert (found.pairs, found.pairs_right, found.pairs_tied) == (5, 4, 0)
    assert found.order_right == 0.8
    assert found.groups == 1
    assert found.mean_regret == pytest.approx(0.04)


def test_groups_are_averaged_and_single_runs_left_out() -> None:
    """Regrets 4 %, 0 and (15 / 10 - 1) 50 %: mean 18 %, two of three within 4 %."""
    exact, wrong = [(1.0, 1.0), (2.0, 2.0)], [(10.0, 3.0), (15.0, 2.0)]
    found = ranking_statistics([[(10.0, 2.0), (10.39, 1.0)], exact, wrong, [(1.0, 5.0)]])
    assert found.groups == 3
    assert found.mean_regret == pytest.approx((0.039 + 0 + 0.5) / 3)
    assert found.worst_regret == pytest.approx(0.5)
    assert found.within_4_percent == pytest.approx(2 / 3)
    assert (found.pairs, found.pairs_right) == (2, 1)


def test_a_tie_is_wrong_and_its_pick_is_any_of_the_tied() -> None:
    """Equal predictions of 10 and 12 s: picked in the mean 11 s, 10 % above the best."""
    found = ranking_statistics([[(10.0, 5.0), (12.0, 5.0)]])
    assert (found.pairs, found.pairs_right, found.pairs_tied) == (1, 0, 1)
    assert found.mean_regret == pytest.approx(0.1)


def test_the_measured_order_of_the_rows_has_no_influence() -> None:
    assert ranking_statistics([GROUP]) == ranking_statistics([GROUP[::-1]])
    assert regret(GROUP) == regret(GROUP[::-1])


def test_nothing_to_rank() -> None:
    found = ranking_statistics([[(1.0, 1.0)]])
    assert (found.groups, found.order_right, found.mean_regret) == (0, None, None)


def test_runs_that_repeat_within_five_percent_are_no_pair() -> None:
    assert ranking_statistics([[(1.0, 2.0), (1.049, 1.0)]]).pairs == 0
    assert ranking_statistics([[(1.0, 2.0), (1.051, 1.0)]]).pairs == 1
