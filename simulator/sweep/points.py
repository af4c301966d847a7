"""The points of a sweep, in a fixed order, each with an id that says what is computed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final, cast

from simulator import __version__
from simulator.errors import PlanError, SpecError, TrainsimError, UnknownNameError
from simulator.spec.expression import Expression, Value
from simulator.spec.load import Parts, load_parts
from simulator.spec.overrides import Override, apply_overrides
from simulator.spec.scenario import ScenarioSpec
from simulator.spec.sweep import Sweep, given_value
from simulator.spec.validate import validate

MAX_COMBINATIONS: Final = 20_000_000
"""Most combinations of axis values that are looked through (30 us each)."""
_ID_DIGITS: Final = 32
"""Hexadecimal digits of an id: 128 bits, so that no two of a billion points share one."""
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=repr)
"""Equal data, equal text."""


@dataclass(frozen=True, slots=True)
class Point:
    """One simulation.

    Attributes:
        id: SHA-256 of all that the result depends on, shortened to 128 bits.
        values: (path, value) of every axis and everything derived; None for what could not be
            derived because the point names no valid model or cluster.
    """

    id: str
    values: tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True)
class Shard:
    """One of ``count`` parts of a sweep, numbered from 1; a point belongs to it by its id."""

    index: int
    count: int

    def holds(self, point_id: str) -> bool:
        """Whether the point is in this part."""
        return int(point_id, 16) % self.count == self.index - 1


WHOLE: Final = Shard(1, 1)


def parse_shard(text: str) -> Shard:
    """The shard written as ``2/8``.

    Raises:
        SpecError: if it is not of that form.
    """
    index, _, count = text.partition("/")
    if index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
        return Shard(int(index), int(count))
    raise SpecError(
        f"'{text}' is not a shard", where="--shard", hint="write 1/8 for the first of eight"
    )


@lru_cache
def fingerprint() -> str:
    """Version and source of this simulator: rows of another one are other rows."""
    digest = hashlib.sha256(__version__.encode())
    package = Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _UnresolvedError(Exception):
    """The model or the cluster of a point cannot be read; its row will say why."""


@dataclass(slots=True)
class Space:
    """All points of a sweep. A model, cluster or stack is read once for each way to name it."""

    sweep: Sweep
    _parts: dict[str, Parts | TrainsimError] = field(
        default_factory=dict[str, "Parts | TrainsimError"]
    )
    _digests: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def num_combinations(self) -> int:
        """Combinations of axis values, before constraints."""
        return math.prod(len(values) for values in self.sweep.axes.values())

    def points(self) -> Iterator[Point]:
        """Every point for which the constraints hold; the last axis varies fastest.

        Raises:
            SpecError: if an axis, a derived value or a constraint is wrong, or there are too many.
        """
        if self.num_combinations > MAX_COMBINATIONS:
            raise SpecError(
                f"{self.num_combinations:,} combinations of axis values, more than "
                f"{MAX_COMBINATIONS:,}",
                where=f"{self.sweep.where}: axes",
                hint="split the sweep, or derive an axis from the others",
            )
        self._check_axes()
        for values, data in _combinations(self.sweep.base, {}, tuple(self.sweep.axes.items())):
            point = self._point(values, data)
            if point is not None:
                yield point

    def base_digest(self) -> str:
        """What the rows of a directory have in common: the scenario without its axes, and the code.

        Values may be added to an axis later: the rows that are there stay right.
        """
        data = assigned(self.sweep.base, dict.fromkeys(self.sweep.axes))
        axes = sorted([*self.sweep.axes, *self.sweep.derive])
        return hashlib.sha256(_canonical([fingerprint(), data, axes]).encode()).hexdigest()

    def _point(self, values: dict[str, object], data: Mapping[str, object]) -> Point | None:
        try:
            for path, expression in self.sweep.derive.items():
                values[path] = self._value(expression, data, f"derive.{path}")
                data = assigned(data, {path: values[path]})
            for index, constraint in enumerate(self.sweep.constraints):
                if not self._value(constraint, data, f"constraints[{index}]"):
                    return None
        except _UnresolvedError:
            values = dict.fromkeys(self.sweep.derive) | values
        return Point(self._id(data), tuple(values.items()))

    def _value(self, expression: Expression, data: Mapping[str, object], place: str) -> Value:
        try:
            return expression.value(self._lookup(data))
        except TrainsimError as error:
            raise error.at(f"{self.sweep.where}: {place}") from None

    def _lookup(self, data: Mapping[str, object]) -> Callable[[str], Value]:
        """Values by name: of the resolved model, the number of devices, else of the scenario."""

        def value(name: str) -> Value:
            section, _, rest = name.partition(".")
            if name != "devices" and section != "model":
                return given_value(data, name)
            parts = self._resolved(data)
            if isinstance(parts, TrainsimError):
                raise _UnresolvedError
            found = parts.cluster.num_devices if name == "devices" else None
            found = getattr(parts.model, rest, None) if found is None else found
            return found if isinstance(found, (int, float, str)) else given_value({}, name)

        return value

    def _resolved(self, data: Mapping[str, object]) -> Parts | TrainsimError:
        key = section_key(data)
        if key not in self._parts:
            self._parts[key] = _read(data, self.sweep)
        return self._parts[key]

    def _id(self, data: Mapping[str, object]) -> str:
        """Of the descriptions themselves, not of their names: an edited file gives another id."""
        key = section_key(data)
        if key not in self._digests:
            parts = self._resolved(data)
            text = parts.problem if isinstance(parts, TrainsimError) else repr(parts)
            self._digests[key] = hashlib.sha256(text.encode()).hexdigest()
        text = f"{fingerprint()} {self._digests[key]} {_canonical(data)}"
        return hashlib.sha256(text.encode()).hexdigest()[:_ID_DIGITS]

    def _check_axes(self) -> None:
        """Every value of every axis by itself: wrong keys and names are errors, not rows."""
        first = {path: values[0] for path, values in self.sweep.axes.items()}
        for path, values in self.sweep.axes.items():
            for value in values:
                try:
                    data = assigned(self.sweep.base, first | {path: value})
                    spec = validate(ScenarioSpec, data, self.sweep.base_where)
                    load_parts(spec, self.sweep.base_where, self.sweep.base_dir)
                except PlanError:
                    continue
                except SpecError as error:
                    if _is_fatal(error):
                        place = f"{self.sweep.where}: axes.{path}"
                        where = f"{error.where} (with {path}={_canonical(value)} of {place})"
                        raise type(error)(error.problem, where=where, hint=error.hint) from None


def _is_fatal(error: SpecError) -> bool:
    """A cluster that has too few nodes makes a row; all else no row can say better."""
    return isinstance(error, UnknownNameError) or not error.where.endswith("cluster.nodes")


def _combinations(
    data: Mapping[str, object],
    done: dict[str, object],
    axes: tuple[tuple[str, tuple[object, ...]], ...],
) -> Iterator[tuple[dict[str, object], Mapping[str, object]]]:
    """Values of all axes and the scenario with them; the last axis varies fastest.

    What the first axes assign is assigned once for all values of the others.
    """
    if not axes:
        yield done, data
        return
    (path, values), *others = axes
    for value in values:
        with_value = assigned(data, {path: value})
        yield from _combinations(with_value, done | {path: value}, tuple(others))


def assigned(data: Mapping[str, object], values: Mapping[str, object]) -> dict[str, object]:
    """Scenario data with values put in at their paths."""
    changes = [Override(path, value) for path, value in values.items()]
    return cast("dict[str, object]", apply_overrides(data, changes))


def _read(data: Mapping[str, object], sweep: Sweep) -> Parts | TrainsimError:
    try:
        spec = validate(ScenarioSpec, data, sweep.base_where)
        return load_parts(spec, sweep.base_where, sweep.base_dir)
    except TrainsimError as error:
        return error


def section_key(data: Mapping[str, object]) -> str:
    """Equal for scenarios that name the same model, cluster and stack in the same words."""
    return _canonical([data.get("model"), data.get("cluster"), data.get("stack")])


def _canonical(data: object) -> str:
    return _CANONICAL.encode(data)
