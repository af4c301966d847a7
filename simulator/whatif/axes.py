"""``--vary plan.tp=1,2,4``: values that a key takes, and all combinations of several keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, cast

from simulator.errors import SpecError
from simulator.spec.overrides import Override
from simulator.spec.yaml_file import parse_yaml

MAX_COMBINATIONS: Final = 1000
"""Most scenarios that are compared at once."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A key and the values it takes."""

    path: str
    values: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Combination:
    """One value of every axis, and how it is called: ``tp=2 sharding=zero1``."""

    label: str
    assignments: tuple[Override, ...]


def parse_axis(text: str) -> Axis:
    """The axis written as ``plan.tp=1,2,4``; values are YAML, with commas between.

    Raises:
        SpecError: if it is not of that form.
    """
    path, equals, values = text.partition("=")
    path, where = path.strip(), f"--vary {text[:80]}"
    if not equals or not all(path.split(".")) or not values.strip():
        raise SpecError(
            f"'{text[:80]}' is not of the form key=value,value",
            where="--vary",
            hint="write for example --vary plan.sharding=zero1,zero3",
        )
    # YAML's own list knows which commas are inside of a value.
    parsed = parse_yaml(f"[{values}]", where)
    found = tuple(cast("list[object]", parsed)) if isinstance(parsed, list) else ()
    if not found:
        raise SpecError("there is no value", where=where, hint="write values with commas between")
    return Axis(path, found)


def combinations(axes: Sequence[Axis]) -> tuple[Combination, ...]:
    """Every combination, the last axis varying fastest; one without assignments if no axis.

    Raises:
        SpecError: if they are too many, or an axis is given twice.
    """
    paths = [axis.path for axis in axes]
    repeated = sorted({path for path in paths if paths.count(path) > 1})
    if repeated:
        raise SpecError(f"'{repeated[0]}' is varied twice", where="--vary", hint="give it once")
    number = 1
    for axis in axes:
        number *= len(axis.values)
    if number > MAX_COMBINATIONS:
        raise SpecError(
            f"{number} combinations are more than {MAX_COMBINATIONS}",
            where="--vary",
            hint="vary fewer keys, or search",
        )
    names = short_names(paths)
    return tuple(
        Combination(
            " ".join(f"{name}={shown(v)}" for name, v in zip(names, values, strict=True)),
            tuple(Override(path, v) for path, v in zip(paths, values, strict=True)),
        )
        for values in product(*(axis.values for axis in axes))
    )


def short_names(paths: Sequence[str]) -> list[str]:
    """The last part of every key, the whole key where that is not unique."""
    lasts = [path.rpartition(".")[2] for path in paths]
    return [
        path if lasts.count(last) > 1 or last == "preset" else last
        for path, last in zip(paths, lasts, strict=True)
    ]


def shown(value: object) -> str:
    """A value as YAML would write it, about."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            items = cast("dict[object, object]", value).items()
            return "{" + ", ".join(f"{key}: {shown(v)}" for key, v in items) + "}"
        case list():
            return "[" + ", ".join(map(shown, cast("list[object]", value))) + "]"
        case None:
            return "null"
        case _:
            return str(value)
