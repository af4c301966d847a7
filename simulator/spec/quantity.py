"""Field types of the schemas: quantities with a unit, counts, and figures with a source."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Final, Generic, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, Strict, StrictStr, StringConstraints

from simulator.errors import SpecError
from simulator.machine import Assumption
from simulator.spec.validate import Spec
from simulator.units import parse_quantity

MAX_DEVICES: Final = 1_048_576
"""Largest cluster that is accepted: ten times the largest ever announced."""


def _quantity(dimension: str, *, zero: bool) -> Callable[[object], float]:
    """A validator that parses one dimension and refuses what no machine can have."""

    def parse(text: object) -> float:
        value = parse_quantity(text, dimension)
        if not math.isfinite(value):
            raise SpecError(f"'{text}' is not finite")
        if value < 0 or (value == 0 and not zero):
            rule = "must not be negative" if zero else "must be positive"
            raise SpecError(f"'{text}' {rule}")
        return value

    return parse


Seconds = Annotated[float, BeforeValidator(_quantity("time", zero=True))]
Bytes = Annotated[float, BeforeValidator(_quantity("bytes", zero=False))]
BytesOrZero = Annotated[float, BeforeValidator(_quantity("bytes", zero=True))]
BytesPerSecond = Annotated[float, BeforeValidator(_quantity("bandwidth", zero=False))]
FlopsPerSecond = Annotated[float, BeforeValidator(_quantity("compute", zero=False))]
Watts = Annotated[float, BeforeValidator(_quantity("power", zero=False))]

Count = Annotated[int, Strict(), Field(ge=1, le=MAX_DEVICES)]
CountOrZero = Annotated[int, Strict(), Field(ge=0, le=MAX_DEVICES)]
Fraction = Annotated[float, Strict(), Field(gt=0, le=1, allow_inf_nan=False)]
FractionOrZero = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]
PeakFraction = Annotated[float, Strict(), Field(gt=0, le=1.2, allow_inf_nan=False)]
"""Of a datasheet's peak, which counts at a clock that consumer cards exceed."""
Scale = Annotated[float, Strict(), Field(ge=0.1, le=100, allow_inf_nan=False)]
"""On the time of kernels measured alone; more than ten times as fast is a typing error."""
Positive = Annotated[float, Strict(), Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)]
Text = Annotated[StrictStr, StringConstraints(strip_whitespace=True, min_length=1)]

T = TypeVar("T")


class Sourced(Spec, Generic[T]):
    """One figure and where it was read: ``{value: "2039 GB/s", source: "..."}``."""

    value: T
    source: Text


class AssumptionSpec(Spec):
    """A value that was taken from a relative or estimated."""

    name: Text
    value: Text
    source: Text


def assumptions(specs: tuple[AssumptionSpec, ...]) -> tuple[Assumption, ...]:
    """The frozen form that reports list."""
    return tuple(Assumption(s.name, s.value, s.source) for s in specs)


def _at_least_one(one_means: str) -> Callable[[float], float]:
    def check(value: float) -> float:
        if value < 1:
            raise SpecError(f"{value:g} is below 1", hint=f"1 means {one_means}")
        return value

    return check


Oversubscription = Annotated[Positive, AfterValidator(_at_least_one("no oversubscription"))]
Slowdown = Annotated[Positive, AfterValidator(_at_least_one("as fast as the others"))]
