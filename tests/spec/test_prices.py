"""Prices: every shipped one has its source, a user's replace them."""

from pathlib import Path

import pytest

from simulator.errors import SpecError
from simulator.spec.prices import GIVEN, parse_prices, shipped_prices
from simulator.spec.yaml_file import list_data


def test_shipped_prices_have_sources_and_name_accelerators() -> None:
    prices = shipped_prices()
    assert prices.usd_per_device_hour.keys() <= set(list_data("accelerators"))
    figures = [*prices.usd_per_device_hour.values(), prices.pue, prices.carbon_kg_per_kwh]
    assert all("20" in figure.source for figure in figures), "a price without a date"
    assert prices.pue.value >= 1


def test_prices_of_instances_are_an_eighth_of_the_instance() -> None:
    """14.75 / 8 = 1.84375, 39.33 / 8 = 4.91625, 43.26 / 8 = 5.4075; printed to three places.

    14.32 / 8 = 1.79 and 4.40 / 8 = 0.55 exactly.
    """
    prices = shipped_prices().usd_per_device_hour
    assert prices["a100-sxm4-40gb"].value == pytest.approx(14.75 / 8, abs=6e-4)
    assert prices["h100-sxm5-80gb"].value == pytest.approx(39.33 / 8, abs=6e-4)
    assert prices["h200-sxm-141gb"].value == pytest.approx(43.26 / 8, abs=6e-4)
    assert prices["a100-sxm4-80gb"].value == pytest.approx(14.32 / 8)
    assert prices["v100-sxm2-16gb"].value == pytest.approx(4.40 / 8)


def test_later_prices_replace_earlier_ones(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "usd_per_device_hour:\n"
        '  h100-sxm5-80gb: {value: 2.1, source: "our contract, 2026"}\n'
        "  my-cluster: 3\n"
        'pue: {value: 1.3, source: "our meter"}\n'
    )
    shipped = shipped_prices()
    prices = parse_prices([str(file), "my-cluster=$4"], shipped)
    rates = prices.usd_per_device_hour
    assert (rates["h100-sxm5-80gb"].value, rates["my-cluster"].value) == (2.1, 4.0)
    assert rates["my-cluster"].source == GIVEN
    assert rates["h200-sxm-141gb"] == shipped.usd_per_device_hour["h200-sxm-141gb"]
    assert (prices.pue.value, prices.carbon_kg_per_kwh) == (1.3, shipped.carbon_kg_per_kwh)


@pytest.mark.parametrize("text", ["h100", "h100=", "h100=-1", "no-such-file.yaml"])
def test_what_is_no_price_is_said(text: str) -> None:
    with pytest.raises(SpecError):
        parse_prices([text], shipped_prices())


def test_a_price_file_knows_its_keys(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("usd_per_hour: {a: 1}\n")
    with pytest.raises(SpecError, match="unknown key"):
        parse_prices([str(file)], shipped_prices())
