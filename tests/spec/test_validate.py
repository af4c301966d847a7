"""One problem of a description becomes one error with place and hint."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, Field

from simulator.errors import PlanError, SpecError, UnknownNameError
from simulator.spec.quantity import (
    BytesPerSecond,
    Count,
    Fraction,
    Oversubscription,
    Positive,
    Seconds,
    Sourced,
)
from simulator.spec.validate import Spec, validate


class Wheel(Spec):
    kind: Literal["wheel"]
    spokes: Count


class Sail(Spec):
    kind: Literal["sail"]
    area: Positive


class Part(Spec):
    share: Fraction = 1.0
    drive: Annotated[Wheel | Sail, Field(discriminator="kind")] | None = None


class Machine(Spec):
    rate: Sourced[BytesPerSecond]
    start: Seconds = 0.0
    colour: Literal["green", "red"] = "red"
    ratio: Oversubscription = 1.0
    parts: tuple[Part, ...] = ()
    by_size: dict[int, Part] = Field(default_factory=dict)


RATE = {"value": "2 GB/s", "source": "x"}


def problem(data):
    with pytest.raises(SpecError) as caught:
        validate(Machine, data, "a.yaml")
    return caught.value


def test_valid():
    made = validate(Machine, {"rate": RATE, "parts": [{"share": 1}]}, "a.yaml")
    assert made.rate.value == 2e9
    assert made.parts[0].share == 1.0


@pytest.mark.parametrize(
    ("data", "text", "place", "hint"),
    [
        ({}, "'rate' is missing", "a.yaml: rate", "add the key 'rate'"),
        # The typo is reported, not the key that it leaves missing.
        (
            {"rate": RATE, "colour": "gren"},
            "'gren' is not one of 'green' or 'red'", "a.yaml: colour", "did you mean 'green'?",
        ),
        (
            {"rate": RATE, "colour": 7},
            "7 is not one of 'green' or 'red'", "a.yaml: colour", "",
        ),
        ({"rat": RATE}, "unknown key 'rat'", "a.yaml: rat", "did you mean 'rate'?"),
        ({"rate": RATE, "zzz": 1}, "unknown key 'zzz'", "a.yaml: zzz", "known keys: by_size"),
        ([], "[] is not a mapping", "a.yaml", "write keys and values"),
        (None, "null is not a mapping", "a.yaml", "write keys"),
        ({"rate": RATE, "parts": [{}, 3]}, "3 is not a mapping", "a.yaml: parts[1]", ""),
        ({"rate": RATE, "by_size": {8: {"shar": 1}}}, "unknown key 'shar'",
         "a.yaml: by_size[8].shar", "did you mean 'share'?"),
        ({"rate": RATE, "parts": [{"drive": {"kind": "wheel", "spoke": 1}}]},
         "unknown key 'spoke'", "a.yaml: parts[0].drive.spoke", "did you mean 'spokes'?"),
        ({"rate": RATE | {"value": "2 MHz"}}, "'MHz' in '2 MHz' is not a unit of bandwidth",
         "a.yaml: rate.value", "450 GB/s"),
        ({"rate": RATE, "start": "-1 us"}, "'-1 us' must not be negative", "a.yaml: start", ""),
        ({"rate": RATE, "ratio": 0.5}, "0.5 is below 1", "a.yaml: ratio", "1 means"),
        ({"rate": RATE, "parts": [{"share": 1.5}]},
         "share must be less than or equal to 1, got 1.5", "a.yaml: parts[0].share", ""),
        ({"rate": RATE, "parts": [{"share": float("nan")}]}, "finite", "parts[0].share", ""),
    ],
)  # fmt: skip
def test_first_problem(data, text, place, hint):
    error = problem(data)
    assert text in error.problem
    assert place in error.where
    assert hint in error.hint


def test_long_values_are_cut():
    assert len(problem({"rate": RATE, "parts": "x" * 10_000}).problem) < 200


@pytest.mark.parametrize("raised", [PlanError("p"), UnknownNameError("u", hint="h")])
def test_an_error_of_ours_keeps_its_class(raised):
    def refuse(_value):
        raise raised

    class Refusing(Spec):
        x: Annotated[int, AfterValidator(refuse)]

    with pytest.raises(type(raised)) as caught:
        validate(Refusing, {"x": 1}, "f.yaml")
    assert caught.value.problem == raised.problem
    assert caught.value.where == "f.yaml: x"
    assert caught.value.hint == raised.hint
