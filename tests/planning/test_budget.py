"""A job from one step: published jobs by hand, and laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import SpecError
from simulator.planning.budget import (
    Rates,
    Sourced,
    explained,
    job_cost,
    mwh_per_billion_tokens,
    steps_needed,
    usd_per_million_tokens,
)


def rates(
    price: float | None = 2.0,
    power_w: float = 400.0,
    pue: float = 1.1,
    carbon: float = 0.385,
    goodput: float = 1.0,
) -> Rates:
    return Rates(
        None if price is None else Sourced(price, "given"),
        Sourced(power_w, "given"),
        Sourced(pue, "given"),
        Sourced(carbon, "given"),
        Sourced(goodput, "given"),
    )


def test_llama_65b_as_its_authors_count_it() -> None:
    """Touvron et al. 2023, table 15: 1,022,362 GPU-hours, 400 W, PUE 1.1: 449 MWh, 173 tCO2e.

    1,022,362 h x 400 W x 1.1 = 449.84 MWh; x 0.385 t/MWh = 173.19 t.
    """
    devices = 2048
    job = job_cost(1, 1_022_362 * 3600 / devices, devices, rates())
    assert job.device_hours == pytest.approx(1_022_362)
    assert job.energy_mwh == pytest.approx(449.84, abs=0.01)
    assert job.carbon_t == pytest.approx(173.19, abs=0.01)


def test_deepseek_v3_as_its_authors_count_it() -> None:
    """arXiv 2412.19437, table 1: 2.788 M hours of H800 at $2 are $5.576 M."""
    job = job_cost(1000, 2_788_000 * 3600 / 2048 / 1000, 2048, rates())
    assert job.usd == pytest.approx(5.576e6)


def test_a_job_by_hand() -> None:
    """10 steps of 360 s at goodput 0.5 are 7,200 s = 2 h; 4 devices: 8 device-hours.

    At $3: $24. At 500 W and PUE 1.25: 8 h x 500 W x 1.25 = 5 kWh; at 0.4 kg/kWh: 2 kg.
    """
    job = job_cost(10, 360.0, 4, rates(3.0, 500.0, 1.25, 0.4, 0.5))
    assert (job.time_s, job.device_hours, job.usd) == (7200.0, 8.0, 24.0)
    assert job.energy_mwh == pytest.approx(0.005)
    assert job.carbon_t == pytest.approx(0.002)


def test_steps_are_whole() -> None:
    assert steps_needed(1e6, 1000) == 1000
    assert steps_needed(1e6 + 1, 1000) == 1001


def test_per_token_by_hand() -> None:
    """$3.6 an hour is $0.001 a second; at 1000 tokens/s a million takes 1000 s: $1.

    1000 W, PUE 1.2 and 1000 tokens/s: 1.2 J a token, 1.2e9 J for a billion = 1/3 MWh.
    """
    assert usd_per_million_tokens(3.6, 1000.0) == pytest.approx(1.0)
    assert mwh_per_billion_tokens(1000.0, 1.2, 1000.0) == pytest.approx(1 / 3)


def test_without_a_price_there_are_no_dollars() -> None:
    job = job_cost(10, 1.0, 8, rates(price=None))
    assert job.usd is None
    figures = explained(
        job, rates(price=None), devices=8, step_s=1.0, tokens=10.0, tokens_per_step=1
    )
    names = [figure.name for figure in figures]
    assert names == ["steps", "days", "device-hours", "MWh", "tCO2e"]


@pytest.mark.parametrize("wrong", [{"goodput": 0.0}, {"goodput": 1.1}, {"pue": 0.9}])
def test_impossible_rates_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SpecError):
        job_cost(1, 1.0, 1, rates(**wrong))


counts = st.integers(1, 10**6)
times = st.floats(1e-3, 1e3)
prices = st.floats(0.01, 100)


@given(counts, times, counts, prices)
def test_device_hours_are_devices_times_hours(
    steps: int, step_s: float, devices: int, price: float
) -> None:
    job = job_cost(steps, step_s, devices, rates(price))
    assert job.device_hours == pytest.approx(devices * job.time_s / 3600, rel=1e-12)


@given(counts, times, counts, prices)
def test_twice_the_price_is_twice_the_dollars_and_nothing_else(
    steps: int, step_s: float, devices: int, price: float
) -> None:
    once = job_cost(steps, step_s, devices, rates(price))
    twice = job_cost(steps, step_s, devices, rates(2 * price))
    assert twice.usd == 2 * (once.usd or 0.0)
    assert (once.energy_mwh, once.time_s) == (twice.energy_mwh, twice.time_s)


@given(st.floats(1, 1e15), st.floats(0, 1e15), st.integers(1, 10**8), times)
def test_more_tokens_are_never_cheaper(
    tokens: float, more: float, per_step: int, step_s: float
) -> None:
    few = job_cost(steps_needed(tokens, per_step), step_s, 8, rates())
    many = job_cost(steps_needed(tokens + more, per_step), step_s, 8, rates())
    assert (many.usd or 0.0) >= (few.usd or 0.0)
    assert many.energy_mwh >= few.energy_mwh


@given(counts, times, st.floats(0.1, 1))
def test_lost_time_costs_in_proportion(steps: int, step_s: float, goodput: float) -> None:
    whole = job_cost(steps, step_s, 8, rates())
    lossy = job_cost(steps, step_s, 8, rates(goodput=goodput))
    assert lossy.device_hours * goodput == pytest.approx(whole.device_hours, rel=1e-9)
