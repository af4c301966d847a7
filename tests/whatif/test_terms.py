"""Differences of reports, worked by hand, and that their terms sum to the whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.report.report import TIME_TERMS
from simulator.whatif.terms import (
    cost_difference,
    device_seconds_per_token,
    efficiency,
    largest_loss,
    losses,
    memory_difference_bytes,
    time_difference_s,
    tokens_per_step,
)
from tests.whatif.made import report

FIRST = report(devices=2, tokens=1000, compute=9.0, bubble=1.0)
THEN = report(devices=4, tokens=1000, compute=4.5, dp_comm=0.5, bubble=1.25)


def test_efficiency_is_tokens_per_second_and_device() -> None:
    # 1000 / 10 / 2 = 50 at first, 1000 / 6.25 / 4 = 40 then
    assert efficiency(THEN, FIRST) == pytest.approx(0.8)


def test_losses_are_shares_of_device_time_per_token() -> None:
    # Device-seconds per 1000 tokens: 18 + 2 = 20 at first, 18 + 2 + 5 = 25 then.
    assert sum(device_seconds_per_token(FIRST).values()) * 1000 == pytest.approx(20)
    found = losses(THEN, FIRST)
    # compute 18 - 18, reductions 2 - 0, bubble 5 - 2, each of 25
    assert found["compute"] == pytest.approx(0.0)
    assert found["dp_comm"] == pytest.approx(2 / 25)
    assert found["bubble"] == pytest.approx(3 / 25)
    assert sum(found.values()) == pytest.approx(1 - 0.8)
    assert largest_loss(found) == "bubble"


def test_a_step_is_longer_by_its_terms() -> None:
    found = time_difference_s(THEN, FIRST)
    assert (found["compute"], found["dp_comm"], found["bubble"]) == (-4.5, 0.5, 0.25)
    assert sum(found.values()) == pytest.approx(6.25 - 10)


def test_memory_is_that_of_the_worst_rank() -> None:
    one = report(memory={"weights": 30.0, "activations": 20.0}, compute=1.0)
    other = report(memory={"weights": 10.0, "logits": 5.0}, compute=1.0)
    found = memory_difference_bytes(one, other)
    assert (found["weights"], found["activations"], found["logits"]) == (20.0, 20.0, -5.0)
    assert sum(found.values()) == 50 - 15


def test_nothing_takes_anything_of_the_first() -> None:
    assert largest_loss(losses(FIRST, FIRST)) is None
    assert largest_loss({"compute": -0.2}) is None


seconds = st.floats(1e-3, 1e3)
reports = st.builds(
    lambda devices, tokens, time: report(devices=devices, tokens=tokens, **time),
    st.integers(1, 4096),
    st.floats(1e3, 1e9),
    st.fixed_dictionaries(dict.fromkeys(TIME_TERMS, seconds)),
)


@given(reports, reports)
def test_terms_sum_to_the_difference(one, other) -> None:
    longer = one.step_time_s - other.step_time_s
    scale = max(one.step_time_s, other.step_time_s)
    assert sum(time_difference_s(one, other).values()) == pytest.approx(longer, abs=1e-12 * scale)
    cost = {id(r): r.devices * r.step_time_s / tokens_per_step(r) for r in (one, other)}
    dearer = cost[id(one)] - cost[id(other)]
    assert sum(cost_difference(one, other).values()) == pytest.approx(
        dearer, abs=1e-9 * max(cost.values())
    )
    ratio = max(cost.values()) / cost[id(one)]
    assert sum(losses(one, other).values()) == pytest.approx(
        1 - efficiency(one, other), abs=1e-9 * ratio
    )
