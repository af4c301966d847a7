"""The same work on other machines."""

import pytest

from simulator.errors import SpecError, UnknownNameError
from simulator.planning.budget import Sourced
from simulator.planning.hardware import compare_machines, ranked
from simulator.planning.variant import Job
from simulator.simulate import simulate
from simulator.spec.load import load_scenario
from simulator.spec.prices import GIVEN

JOB = Job("llama2-7b-fsdp")
TWO = ("dgx-a100-cluster", "dgx-h100-superpod")


def given(**prices: float) -> dict[str, Sourced]:
    return {name.replace("_", "-"): Sourced(value, GIVEN) for name, value in prices.items()}


def test_it_is_the_scenario_with_another_cluster() -> None:
    rows = compare_machines(JOB, TWO, {}, 1.1)
    for row in rows:
        other = load_scenario("llama2-7b-fsdp", [f"cluster={{preset: {row.cluster}, nodes: 16}}"])
        assert row.prediction is not None
        assert row.prediction.step_time_s == simulate(other).step_time_s
        assert row.usd_per_million_tokens is None


def test_dollars_and_energy_by_hand() -> None:
    """$2 an hour and r tokens/s per device: 2 / 3600 / r * 1e6; 812.5 W x 1.2 / r / 3.6."""
    (row,) = compare_machines(JOB, TWO[:1], given(dgx_a100_cluster=2.0), 1.2)
    assert row.prediction is not None
    rate = row.prediction.tokens_per_s_per_device
    assert row.usd_per_million_tokens == pytest.approx(2 / 3600 / rate * 1e6)
    assert row.mwh_per_billion_tokens == pytest.approx(812.5 * 1.2 / rate / 3.6)
    assert row.usd_per_million_tokens_low is not None
    assert row.usd_per_million_tokens_high is not None
    usd = row.usd_per_million_tokens
    assert row.usd_per_million_tokens_low < usd < row.usd_per_million_tokens_high


def test_twice_the_price_is_twice_the_dollars() -> None:
    (once,) = compare_machines(JOB, TWO[:1], given(dgx_a100_cluster=1.5), 1.1)
    (twice,) = compare_machines(JOB, TWO[:1], given(dgx_a100_cluster=3.0), 1.1)
    assert twice.usd_per_million_tokens == 2 * (once.usd_per_million_tokens or 0.0)


def test_a_clusters_own_price_goes_before_its_accelerators() -> None:
    prices = given(dgx_h100_superpod=3.0) | {"h100-sxm5-80gb": Sourced(9.0, "table")}
    (row,) = compare_machines(JOB, TWO[1:], prices, 1.1)
    assert row.price is not None
    assert row.price.value == 3.0


def test_order_is_by_dollars_then_speed_and_what_cannot_run_is_last() -> None:
    clusters = ("tpu-v3-pod", *TWO)
    prices = given(dgx_a100_cluster=1.0, dgx_h100_superpod=10.0)
    rows = ranked(compare_machines(JOB, clusters, prices, 1.1))
    assert [row.cluster for row in rows][:2] == ["dgx-a100-cluster", "dgx-h100-superpod"]
    rows = ranked(compare_machines(JOB, clusters, {}, 1.1))
    assert [row.cluster for row in rows][:2] == ["dgx-h100-superpod", "dgx-a100-cluster"]
    assert rows[2].prediction is None or not rows[2].prediction.fits


def test_other_numbers_of_devices() -> None:
    (row,) = compare_machines(JOB, TWO[1:], {}, 1.1, devices=64)
    assert row.prediction is not None
    assert row.prediction.devices == 64


def test_wrong_input_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="cluster 'dgx'"):
        compare_machines(JOB, ("dgx",), {}, 1.1)
    with pytest.raises(UnknownNameError, match="machine 'b200'"):
        compare_machines(JOB, TWO, given(b200=1.0), 1.1)
    with pytest.raises(SpecError, match="PUE"):
        compare_machines(JOB, TWO, {}, 0.5)
    with pytest.raises(SpecError, match="not a multiple"):
        compare_machines(Job("gpt3-175b-a100-64"), TWO, {}, 1.1, devices=100)
