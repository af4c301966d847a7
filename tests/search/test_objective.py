from __future__ import annotations

import numpy as np
import pytest

from simulator.errors import SpecError, UnknownNameError
from simulator.search.objective import OBJECTIVES, Setting, cost_per_token, objective

SETTING = Setting(tokens=1000.0, devices=8.0, price_per_device_hour=9.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step_time", 2.0),
        ("tokens_per_s", -500.0),  # 1000 tokens in 2 s, more is better
        ("tokens_per_s_per_device", -62.5),  # of 8 devices
        ("cost_per_token", 4e-5),  # 9 / 3600 s * 8 devices * 2 s / 1000 tokens
    ],
)
def test_values_worked_by_hand(name: str, value: float) -> None:
    assert objective(name)(2.0, SETTING) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_grows_with_the_step_time(name: str) -> None:
    """Search stops at the first bound that is no better: that needs it."""
    values = np.asarray(objective(name)(np.array([0.5, 1.0, 2.0]), SETTING))
    assert (np.diff(values) > 0).all()


def test_costs_need_a_price() -> None:
    with pytest.raises(SpecError, match="needs a price"):
        cost_per_token(1.0, Setting(tokens=1.0, devices=1.0, price_per_device_hour=None))


def test_an_unknown_objective_is_refused_with_what_was_meant() -> None:
    with pytest.raises(UnknownNameError, match="unknown objective 'step_tim'"):
        objective("step_tim")
