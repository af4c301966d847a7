"""Quantities as users write them: ``"450 GB/s" <-> 4.5e11``. The only file that knows a prefix.

Bytes are decimal (GB = 1e9) unless written binary (GiB = 2**30); a small ``b`` is a bit.
Inside the simulator every number is in SI units and its name says which.
"""

from __future__ import annotations

import re
from typing import Final

from simulator.errors import SpecError, as_written

_DECIMAL: Final = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY: Final = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}
_SMALL: Final = {"n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3}
_BYTES: Final = (
    {f"{p}B": f for p, f in (_DECIMAL | _BINARY).items()}
    | {f"{p}b": f / 8 for p, f in (_DECIMAL | _BINARY).items()}
    | {f"{p}bit": f / 8 for p, f in (_DECIMAL | _BINARY).items()}
)
UNITS: Final[dict[str, dict[str, float]]] = {
    "time": {f"{p}s": f for p, f in ({"": 1.0} | _SMALL).items()}
    | {"min": 60.0, "h": 3600.0, "d": 86400.0},
    "bytes": _BYTES,
    "bandwidth": {f"{unit}/s": factor for unit, factor in _BYTES.items()}
    | {f"{p}bps": f / 8 for p, f in _DECIMAL.items()},
    "compute": {f"{p}FLOP/s": f for p, f in _DECIMAL.items()}
    | {f"{p}FLOPS": f for p, f in _DECIMAL.items()},
    "frequency": {f"{p}Hz": f for p, f in _DECIMAL.items()},
    "power": {f"{p}W": f for p, f in _DECIMAL.items()},
}
"""Accepted spellings per dimension, each with its factor to SI."""

_EXAMPLES: Final = {
    "time": "2 us",
    "bytes": "80 GB",
    "bandwidth": "450 GB/s",
    "compute": "312 TFLOP/s",
    "frequency": "1410 MHz",
    "power": "400 W",
}
_QUANTITY: Final = re.compile(
    r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-zµ/]+)\s*\Z"
)


def parse_quantity(text: object, dimension: str, *, example: str = "") -> float:
    """The SI value of a quantity such as ``"450 GB/s"``.

    Args:
        text: what the user wrote; only a string with a number and a unit is accepted.
        dimension: a key of ``UNITS``.
        example: for hints, where the usual one of the dimension is of another size.

    Raises:
        SpecError: if the text is no quantity, or its unit is not one of the dimension.
    """
    example = example or _EXAMPLES[dimension]
    if not isinstance(text, str):
        raise SpecError(
            f"{as_written(text)} has no unit",
            hint=f"write it with its unit, for example '{example}'",
        )
    match = _QUANTITY.match(text)
    if match is None:
        raise SpecError(
            f"'{text[:80]}' is no quantity of {dimension}",
            hint=f"write it as a number and a unit, for example '{example}'",
        )
    number, unit = match.groups()
    units = UNITS[dimension]
    if unit not in units:
        raise SpecError(
            f"'{unit}' in '{text[:80]}' is not a unit of {dimension}",
            hint=f"write it with a unit of {dimension}, for example '{example}'",
        )
    return float(number) * units[unit]


def format_si(value: float, unit: str, *, digits: int = 3) -> str:
    """``value`` with a decimal prefix: ``format_si(4.5e11, 'B/s') == '450 GB/s'``."""
    if value == 0:
        return f"0 {unit}"
    for prefix, factor in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1.0)):
        if abs(value) >= factor:
            return f"{value / factor:.{digits}g} {prefix}{unit}"
    return f"{value:.{digits}g} {unit}"


def format_seconds(value: float, *, digits: int = 3) -> str:
    """A duration in the unit in which it reads best: ``format_seconds(0.002) == '2 ms'``."""
    for unit, factor in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        if abs(value) >= factor:
            return f"{value / factor:.{digits}g} {unit}"
    return f"{value:.{digits}g} s"


def percent(value: float | None, *, signed: bool = False, digits: int = 1) -> str:
    """A fraction in percent: ``percent(0.4567) == '45.7 %'``; a dash for what is not known."""
    if value is None:
        return "-"
    return f"{100 * value:+.{digits}f} %" if signed else f"{100 * value:.{digits}f} %"
