"""``hardware/prices.yaml`` and price files of users."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field

from simulator.errors import SpecError
from simulator.spec.quantity import Positive, Sourced, Text
from simulator.spec.ranges import parse_amount
from simulator.spec.validate import Spec, validate
from simulator.spec.yaml_file import data_dir, read_yaml

GIVEN: Final = "given"
"""Source of what a user wrote on the command line."""


class PriceSpec(Spec):
    """Dollars per device and hour, where they were read and when."""

    value: Positive
    source: Text


def _long_form(data: object) -> object:
    """One number stands for a price of the user's own."""
    if isinstance(data, int | float) and not isinstance(data, bool):
        return {"value": float(data), "source": "price file"}
    return data


Price = Annotated[PriceSpec, BeforeValidator(_long_form)]


class PriceFile(Spec):
    """A price file: dollars per device and hour by name of an accelerator, or of a cluster."""

    usd_per_device_hour: dict[str, Price] = Field(default_factory=dict[str, Price])
    pue: Sourced[Positive] | None = None
    carbon_kg_per_kwh: Sourced[Positive] | None = None


class Prices(Spec):
    """What a job costs besides time, complete."""

    usd_per_device_hour: dict[str, Price]
    pue: Sourced[Positive]
    carbon_kg_per_kwh: Sourced[Positive]


@lru_cache(maxsize=1)
def shipped_prices() -> Prices:
    """Prices, PUE and carbon intensity with their sources, for what a user does not give."""
    path = data_dir("hardware") / "prices.yaml"
    return validate(Prices, read_yaml(path), str(path))


def parse_prices(texts: Sequence[str], base: Prices) -> Prices:
    """Prices of the command line on top of others: files and ``name=dollars``; the last one counts.

    Raises:
        SpecError: if a text is neither, or a file is wrong.
    """
    for text in texts:
        name, equals, amount = text.partition("=")
        if equals:
            value = parse_amount(amount, "dollars per device and hour")
            price = PriceSpec(value=value, source=GIVEN)
            found = PriceFile(usd_per_device_hour={name.strip(): price})
        elif name.endswith((".yaml", ".yml")):
            found = validate(PriceFile, read_yaml(Path(name)), name)
        else:
            raise SpecError(
                f"'{text[:60]}' is neither a file nor name=dollars",
                where="--prices",
                hint="write prices.yaml, or for example dgx-h100-superpod=2.5",
            )
        base = Prices(
            usd_per_device_hour={**base.usd_per_device_hour, **found.usd_per_device_hour},
            pue=found.pue or base.pue,
            carbon_kg_per_kwh=found.carbon_kg_per_kwh or base.carbon_kg_per_kwh,
        )
    return base
