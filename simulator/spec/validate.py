"""Checks data against a pydantic schema and reports the first problem as one ``SpecError``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, TypeVar, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from simulator.errors import SpecError, TrainsimError, as_written


class Spec(BaseModel):
    """Base of every schema: unknown keys are errors, values cannot change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


SpecT = TypeVar("SpecT", bound=BaseModel)
_SHOWN: Final = 80
"""Characters of a wrong value that a message repeats."""


def validate(schema: type[SpecT], data: object, where: str) -> SpecT:
    """``data`` as an instance of ``schema``.

    Args:
        schema: a ``Spec``.
        data: what ``read_yaml`` returned, or a part of it.
        where: the file, and the path of ``data`` in it if it is only a part.

    Raises:
        SpecError: for the first problem, with its place and a hint. A ``TrainsimError`` that a
            validator raised keeps its own class.
    """
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        # A mistyped key is reported both as unknown and as missing: the former explains it.
        problems = sorted(error.errors(), key=lambda p: p["type"] != "extra_forbidden")
        raise _as_spec_error(problems[0], schema, data, where) from None


def _as_spec_error(
    problem: ErrorDetails, schema: type[BaseModel], data: object, where: str
) -> TrainsimError:
    path = _path(problem["loc"], data)
    place = f"{where}: {path}" if path else where
    name = str(problem["loc"][-1]) if problem["loc"] else ""
    value = shown_value(problem["input"])
    context: dict[str, object] = problem.get("ctx", {})
    cause = context.get("error")
    message = problem["msg"].removeprefix("Value error, ")
    match problem["type"]:
        case "extra_forbidden":
            known = _known_keys(schema, problem["loc"][:-1])
            return SpecError(f"unknown key '{name}'", where=place, hint=_near(name, known))
        case "missing":
            return SpecError(f"'{name}' is missing", where=place, hint=f"add the key '{name}'")
        case "union_tag_invalid":
            key, expected = str(context["discriminator"]).strip("'"), str(context["expected_tags"])
            tag = _descend(problem["input"], key)[1]
            near = _nearest(as_written(tag), re.findall(r"'([^']*)'", expected))
            return SpecError(
                f"{shown_value(tag)} is not one of {expected}", where=f"{place}.{key}", hint=near
            )
        case "union_tag_not_found":
            key = str(context["discriminator"]).strip("'")
            return SpecError(f"'{key}' is missing", where=place, hint=_instead(key, data, path))
        case "tuple_type":
            return SpecError(f"{value} is not a list", where=place, hint="write [one, another]")
        case "model_type" | "dict_type" | "model_attributes_type":
            return SpecError(f"{value} is not a mapping", where=place, hint=_mapping_hint(context))
        case "literal_error" | "enum":
            expected = str(context.get("expected", ""))
            near = _nearest(as_written(problem["input"]), re.findall(r"'([^']*)'", expected))
            return SpecError(f"{value} is not one of {expected}", where=place, hint=near)
        case "too_short" | "too_long":
            has = context.get("actual_length") or "no"
            fewest, most = context.get("min_length"), context.get("max_length")
            allowed = f"{fewest} or more" if most is None else f"at most {most}"
            return SpecError(
                f"'{name}' holds {has} values", where=place, hint=f"write {allowed} of them"
            )
        case _ if isinstance(cause, TrainsimError):
            return type(cause)(cause.problem, where=cause.where or place, hint=cause.hint)
        case _:
            text = message.replace("Input should be", "must be").replace("Input", "value")
            return SpecError(f"{name or 'value'} {text}, got {value}", where=place)


def _mapping_hint(context: Mapping[str, object]) -> str:
    """How to write what is no mapping: a figure with its source, or keys."""
    sourced = str(context.get("class_name", "")).startswith("Sourced")
    return "write {value: ..., source: ...}" if sourced else "write keys and values, 'key: value'"


def shown_value(value: object) -> str:
    """A wrong value as a message repeats it: text in quotes, all else as YAML, both cut short."""
    text = f"'{value}'" if isinstance(value, str) else as_written(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _instead(key: str, data: object, path: str) -> str:
    """A hint with the key that may be meant for one that is missing at a path."""
    for part in path.split("."):
        data = _descend(data, part)[1]
    keys = (
        [str(k) for k in cast("Mapping[object, object]", data)] if isinstance(data, Mapping) else []
    )
    near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
    return f"is '{near[0]}' meant to be '{key}'?" if near else f"add the key '{key}'"


def _near(name: str, known: Sequence[str]) -> str:
    """A hint with the nearest known key, or with all of them."""
    return _nearest(name, known) or f"known keys: {', '.join(known)}"


def _nearest(name: str, known: Sequence[str]) -> str:
    """A hint with the nearest known word, empty where none is near."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else ""


def _path(location: Sequence[int | str], data: object) -> str:
    """The dotted path of a problem, without the union tags pydantic puts into it."""
    parts: list[str] = []
    for position, part in enumerate(location):
        inside, data = _descend(data, part)
        if inside or position == len(location) - 1:
            parts.append(f"[{part}]" if isinstance(part, int) else f".{part}")
    return "".join(parts).removeprefix(".")


def _descend(data: object, part: int | str) -> tuple[bool, object]:
    """Whether ``data`` holds ``part``, and the value there (``data`` itself otherwise)."""
    values: dict[str, object] = {}
    if isinstance(data, Mapping):
        values = {str(k): v for k, v in cast("Mapping[object, object]", data).items()}
    elif isinstance(data, list):
        values = {str(i): v for i, v in enumerate(cast("list[object]", data))}
    return (True, values[str(part)]) if str(part) in values else (False, cast("object", data))


def _known_keys(schema: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Keys of the schema at a location; a tag chooses among schemas, an index stays in place."""
    schemas = [schema]
    for part in location:
        fields = [s.model_fields[str(part)] for s in schemas if str(part) in s.model_fields]
        chosen = [s for s in schemas if not fields and _has_tag(s, part)]
        schemas = [s for f in fields for s in _schemas(f.annotation)] or chosen or schemas
    return sorted({name for s in schemas for name in s.model_fields})


def _has_tag(schema: type[BaseModel], tag: int | str) -> bool:
    """Whether one of a schema's fields can only be this word or a few others."""
    return any(
        get_origin(field.annotation) is Literal and tag in get_args(field.annotation)
        for field in schema.model_fields.values()
    )


def _schemas(annotation: object) -> Iterator[type[BaseModel]]:
    """All schemas named in an annotation such as ``dict[str, Foo] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _schemas(argument)
