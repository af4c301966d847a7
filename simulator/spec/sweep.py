"""Schema of sweep files: one scenario, axes that vary, and what must hold among them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, cast

from pydantic import BaseModel, Field, field_validator

from simulator.errors import SpecError, TrainsimError
from simulator.spec.expression import Expression, Value, parse_expression
from simulator.spec.load import find_scenario
from simulator.spec.overrides import SHORT_FORMS
from simulator.spec.quantity import Text
from simulator.spec.scenario import PlanSpec, TrainingSpec
from simulator.spec.validate import Spec, validate
from simulator.spec.yaml_file import read_yaml

_PATH: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*\Z")
AxisValues = Annotated[tuple[object, ...], Field(min_length=1, max_length=10_000)]


class SweepSpec(Spec):
    """What is run: every combination of the values of ``axes`` for which ``constraints`` hold.

    ``derive`` sets further values of the scenario from expressions, in order, for example
    ``plan.dp: devices // (plan.tp * plan.pp)``.
    """

    scenario: Text | dict[str, object]
    axes: dict[str, AxisValues] = Field(min_length=1)
    derive: dict[str, Text] = Field(default_factory=dict[str, str])
    constraints: tuple[Text, ...] = ()
    metrics: tuple[Text, ...] | None = None

    @field_validator("axes")
    @classmethod
    def _distinct(cls, axes: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
        for path, values in axes.items():
            _check_path(path)
            texts = [json.dumps(value, sort_keys=True) for value in values]
            twice = [text for text in texts if texts.count(text) > 1]
            if twice:
                raise SpecError(f"'{path}' holds {twice[0]} twice", hint="remove one of them")
        return axes

    @field_validator("derive")
    @classmethod
    def _paths(cls, derive: dict[str, str]) -> dict[str, str]:
        for path in derive:
            _check_path(path)
        return derive


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep file, read.

    Attributes:
        name: stem of the file.
        where: the file, for errors.
        base: the scenario as data, before any axis.
        base_where: the file of the scenario, for errors.
        base_dir: directory against which paths in the scenario are resolved.
        axes: path in the scenario -> values, in the order of the file; the last varies fastest.
        derive: path -> expression, in order.
        metrics: names; None for the usual ones.
    """

    name: str
    where: str
    base: Mapping[str, object]
    base_where: str
    base_dir: Path
    axes: Mapping[str, tuple[object, ...]]
    derive: Mapping[str, Expression]
    constraints: tuple[Expression, ...]
    metrics: tuple[str, ...] | None = None


def load_sweep(path: Path) -> Sweep:
    """The sweep of a file.

    Raises:
        SpecError: if the file or an expression in it is wrong, with its place.
    """
    where = str(path)
    spec = validate(SweepSpec, read_yaml(path), where)
    base, base_path = _base(spec.scenario, path)
    both = sorted(spec.axes.keys() & spec.derive.keys())
    if both:
        raise SpecError(
            f"'{both[0]}' is an axis and derived", where=f"{where}: derive", hint="keep one of them"
        )
    return Sweep(
        name=path.stem,
        where=where,
        base=base,
        base_where=str(base_path),
        base_dir=base_path.parent,
        axes=spec.axes,
        derive={
            key: _expression(text, f"{where}: derive.{key}") for key, text in spec.derive.items()
        },
        constraints=tuple(
            _expression(text, f"{where}: constraints[{index}]")
            for index, text in enumerate(spec.constraints)
        ),
        metrics=spec.metrics,
    )


def given_value(data: object, path: str) -> Value:
    """The value at a dotted path of a scenario as data, its default where it is left out.

    A short form counts as what it stands for: ``training.recompute.mode`` of
    ``recompute: full`` is ``full``.

    Raises:
        SpecError: if there is no plain value.
    """
    found, done = data, ""
    for key in path.split("."):
        if isinstance(found, Mapping):
            mapping = cast("Mapping[str, object]", found)
            if mapping.get(key) is None:
                return _default(path)
            found = mapping[key]
        elif not (isinstance(found, str) and SHORT_FORMS.get(done) == key):
            raise _no_value(path)
        done = f"{done}.{key}".removeprefix(".")
    if not isinstance(found, (int, float, str)):
        raise _no_value(path)
    return found


def _default(path: str) -> Value:
    section, _, rest = path.partition(".")
    schema = {"plan": PlanSpec, "training": TrainingSpec}.get(section)
    key, _, inner = rest.partition(".")
    field = schema.model_fields.get(key) if schema else None
    value: object = None if field is None or field.is_required() else field.default
    if inner and isinstance(value, BaseModel):
        value = value.model_dump().get(inner)
    if not isinstance(value, (int, float, str)):
        raise _no_value(path)
    return value


def _no_value(path: str) -> SpecError:
    return SpecError(
        f"'{path}' has no value here",
        hint="name an axis, something derived before, a number of the scenario such as "
        "training.global_batch_size, a field of the model such as model.num_layers, or devices",
    )


def _check_path(path: str) -> None:
    if not _PATH.match(path):
        raise SpecError(f"'{path}' is not the path of a value", hint="write for example plan.tp")


def _expression(text: str, where: str) -> Expression:
    try:
        return parse_expression(text)
    except TrainsimError as error:
        raise error.at(where) from None


def _base(scenario: str | dict[str, object], sweep: Path) -> tuple[Mapping[str, object], Path]:
    """The scenario as data, and the file it is from; a path is first sought beside the sweep."""
    if isinstance(scenario, dict):
        return {"name": sweep.stem, **scenario}, sweep
    beside = sweep.parent / scenario
    path = beside if beside.is_file() else find_scenario(scenario)
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise SpecError("the scenario is not a mapping", where=str(path))
    return {"name": path.stem, **cast("dict[str, object]", data)}, path
