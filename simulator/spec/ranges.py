"""Ranges and large numbers as users write them: ``8k:128k:x2``, ``15T``, ``$5M``, ``60d``."""

from __future__ import annotations

import math
import re
from typing import Final

from simulator.errors import SpecError
from simulator.units import parse_quantity

MAX_VALUES: Final = 1000
"""Most values of one range: more is a typing error."""
_THOUSANDS: Final = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}
_NUMBER: Final = re.compile(r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([kKMBGT]?)\Z")
_INTEGER: Final = re.compile(r"(\d{1,15})([kK]?)\Z")
_RANGE_HINT: Final = "write values 1,2,4, a factor 128:4096:x2, or a step 1000:4000:+1000"


def parse_range(text: str) -> tuple[int, ...]:
    """The positive integers that a range means, in the order written, each once.

    Parts are separated by commas. A part is one number, ``first:last:xFACTOR`` or
    ``first:last:+STEP``, ends included. ``k`` is 1024, as in lengths of sequences: ``8k`` is 8192.

    Raises:
        SpecError: if a part is none of these, or there are too many values.
    """
    values: dict[int, None] = {}
    for part in text.split(","):
        values.update(dict.fromkeys(_part(part.strip(), text)))
    return tuple(values)


def _part(part: str, text: str) -> list[int]:
    match part.split(":"):
        case [one]:
            return [_integer(one, text)]
        case [first, last, step]:
            return _spread(_integer(first, text), _integer(last, text), step.strip(), text)
        case _:
            raise SpecError(f"'{part[:40]}' of '{text[:60]}' is no range", hint=_RANGE_HINT)


def _spread(first: int, last: int, step: str, text: str) -> list[int]:
    size = _integer(step[1:], text) if step[:1] in ("x", "+") else 0
    smallest = 2 if step[:1] == "x" else 1
    if size < smallest:
        raise SpecError(f"'{step[:20]}' of '{text[:60]}' is no step", hint=_RANGE_HINT)
    if last < first:
        raise SpecError(f"'{text[:60]}' ends before it begins", hint=f"write {last}:{first}:{step}")
    values: list[int] = []
    value = first
    while value <= last:
        values.append(value)
        if len(values) > MAX_VALUES:
            raise SpecError(f"'{text[:60]}' has more than {MAX_VALUES} values", hint=_RANGE_HINT)
        value = value * size if step[0] == "x" else value + size
    return values


def _integer(word: str, text: str) -> int:
    match = _INTEGER.match(word.strip())
    value = int(match[1]) * (1024 if match[2] else 1) if match else 0
    if value < 1:
        raise SpecError(
            f"'{word[:20]}' of '{text[:60]}' is no positive whole number", hint=_RANGE_HINT
        )
    return value


def parse_words(text: str) -> tuple[str, ...]:
    """Words between commas, each once: ``none,full``.

    Raises:
        SpecError: if one is empty.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise SpecError(f"'{text[:60]}' holds an empty word", hint="write words as a,b,c")
    return tuple(dict.fromkeys(words))


def parse_amount(text: str, what: str) -> float:
    """A positive number with a decimal suffix: ``15T`` tokens, ``300B``, ``$5M``, ``2.5``.

    Args:
        text: k, M, B (or G) and T are 10^3, 10^6, 10^9 and 10^12; a ``$`` in front is allowed.
        what: what it counts, for errors.

    Raises:
        SpecError: if it is no such number.
    """
    match = _NUMBER.match(text.strip().removeprefix("$").replace(",", ""))
    value = float(match[1]) * _THOUSANDS[match[2]] if match else 0.0
    if not 0 < value < math.inf:
        raise SpecError(
            f"'{text[:40]}' is no amount of {what}",
            hint="write a number above 0, with k, M, B or T where it is large: 15T, 300B, 2.5",
        )
    return value


def amount_text(value: float) -> str:
    """A number as ``parse_amount`` reads it, in four digits: ``amount_text(2e12) == '2T'``."""
    for suffix in ("T", "B", "M"):
        if value >= _THOUSANDS[suffix]:
            return f"{value / _THOUSANDS[suffix]:.4g}{suffix}"
    return f"{value:,.10g}"


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``60d`` or ``12 h``.

    Raises:
        SpecError: if it is none, or is not above 0.
    """
    seconds = parse_quantity(text, "time", example="60d")
    if not 0 < seconds < math.inf:
        raise SpecError(f"'{text[:40]}' is not above 0", hint="write for example 60d or 12h")
    return seconds


def duration_text(seconds: float) -> str:
    """A duration as people say it: ``duration_text(5400) == '1.5 h'``."""
    for unit, factor in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= factor:
            return f"{seconds / factor:g} {unit}"
    return f"{seconds:g} s"
