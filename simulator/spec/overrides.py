"""``--set plan.tp=8``: values that replace those of a scenario before it is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from simulator.errors import SpecError, as_written
from simulator.spec.yaml_file import parse_yaml

SHORT_FORMS: Final[Mapping[str, str]] = {
    "model": "preset",
    "cluster": "preset",
    "stack": "preset",
    "training.optimizer": "name",
    "training.recompute": "mode",
    "training.fine_tuning": "method",
    "plan.exchange": "policy",
}
"""Keys that may hold one word, and the key of the mapping which that word stands for."""

_NULLS: Final = ("null", "~")


@dataclass(frozen=True, slots=True)
class Override:
    """One assignment: a dotted path and the value it gets.

    Attributes:
        text: the value as it was written; empty if no user wrote it.
    """

    path: str
    value: object
    text: str = field(default="", compare=False)

    @property
    def shown(self) -> str:
        """The value, for messages."""
        return self.text or as_written(self.value)


def parse_override(text: str) -> Override:
    """The assignment written as ``plan.tp=8``; the value is YAML.

    Raises:
        SpecError: if it is not of that form.
    """
    path, equals, value = text.partition("=")
    path = path.strip()
    where = f"--set {text[:80]}"
    if not equals or not all(path.split(".")) or not value.strip():
        raise SpecError(
            f"'{text[:80]}' is not of the form key=value",
            where="--set",
            hint="write for example --set plan.tp=8 or --set 'training.recompute={mode: full}'",
        )
    # A document that holds only null counts as an empty file.
    if value.strip() in _NULLS:
        return Override(path, None, value.strip())
    try:
        return Override(path, parse_yaml(value, where), value.strip())
    except SpecError as error:
        hint = error.hint or "quote the value for the shell, and as YAML if it has signs in it"
        raise SpecError(error.problem, where=where, hint=hint) from None


def apply_overrides(data: object, overrides: Sequence[Override]) -> object:
    """A copy of ``data`` with every assignment made, in order.

    A short form on the way is written out: with ``stack: megascale``, ``stack.gemm_scale=1.1``
    gives ``stack: {preset: megascale, gemm_scale: 1.1}``.

    Raises:
        SpecError: if a path leads through something that is not a mapping.
    """
    for override in overrides:
        data = _assign(data, tuple(override.path.split(".")), override, ())
    return data


def _assign(
    data: object, keys: tuple[str, ...], override: Override, done: tuple[str, ...]
) -> object:
    if not keys:
        return override.value
    place = ".".join(done)
    if isinstance(data, str) and place in SHORT_FORMS:
        data = {SHORT_FORMS[place]: data}
    if data is None:
        data = {}
    if not isinstance(data, Mapping):
        raise SpecError(
            f"'{override.path}' leads into '{place}', which is no mapping",
            where=f"--set {override.path}",
            hint=f"set '{place}' as a whole" if place else "the scenario must be a mapping",
        )
    mapping = cast("Mapping[str, object]", data)
    key, rest = keys[0], keys[1:]
    return {**mapping, key: _assign(mapping.get(key), rest, override, (*done, key))}
