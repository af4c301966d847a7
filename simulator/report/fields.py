"""Typed access to plain JSON data, with the place of a wrong value in the error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from simulator.errors import SpecError, as_written


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object and where it stands in its document.

    Every method raises ``SpecError`` where a key is missing or holds another kind of value.
    """

    data: Mapping[str, object]
    where: str

    @classmethod
    def of(cls, value: object, where: str) -> Fields:
        """The object ``value``."""
        if not isinstance(value, dict):
            raise _wrong(value, "an object", where)
        return cls(cast("dict[str, object]", value), where)

    def __getitem__(self, key: str) -> object:
        if key not in self.data:
            raise SpecError(f"the key '{key}' is missing", where=self.where)
        return self.data[key]

    def _place(self, key: str) -> str:
        return f"{self.where}.{key}"

    def text(self, key: str) -> str:
        """A string."""
        value = self[key]
        if not isinstance(value, str):
            raise _wrong(value, "a string", self._place(key))
        return value

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self[key]
        if not isinstance(value, bool):
            raise _wrong(value, "true or false", self._place(key))
        return value

    def integer(self, key: str) -> int:
        """A whole number."""
        value = self[key]
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong(value, "a whole number", self._place(key))
        return value

    def number(self, key: str) -> float:
        """A number."""
        return _number(self[key], self._place(key))

    def number_or_none(self, key: str) -> float | None:
        """A number, None where it is null or missing (reports written before the key existed)."""
        return None if self.data.get(key) is None else self.number(key)

    def child(self, key: str) -> Fields:
        """An object."""
        return Fields.of(self[key], self._place(key))

    def children(self, key: str) -> Iterator[Fields]:
        """The objects of a list."""
        for index, value in enumerate(self._list(key)):
            yield Fields.of(value, f"{self._place(key)}[{index}]")

    def numbers(self, key: str) -> tuple[float, ...]:
        """The numbers of a list."""
        place = self._place(key)
        return tuple(_number(v, f"{place}[{i}]") for i, v in enumerate(self._list(key)))

    def as_numbers(self) -> dict[str, float]:
        """This object as names with numbers."""
        return {key: self.number(key) for key in self.data}

    def as_texts(self) -> dict[str, str]:
        """This object as names with strings."""
        return {key: self.text(key) for key in self.data}

    def _list(self, key: str) -> list[object]:
        value = self[key]
        if not isinstance(value, list):
            raise _wrong(value, "a list", self._place(key))
        return cast("list[object]", value)


def _number(value: object, where: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise _wrong(value, "a number", where)
    return float(value)


def _wrong(value: object, expected: str, where: str) -> SpecError:
    return SpecError(f"'{as_written(value)[:80]}' is not {expected}", where=where)
