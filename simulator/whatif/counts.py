"""Numbers of devices as users write them: ``128:4096:x2``, ``64:512:+64``, ``96,128``."""

from __future__ import annotations

import re
from typing import Final

from simulator.errors import SpecError

MAX_COUNTS: Final = 1000
"""Most points of one curve."""
_RANGE: Final = re.compile(r"(\d+):(\d+):([x+])(\d+)\Z")
_HINT: Final = "write 128:4096:x2 (doubling), 64:512:+64 (steps of 64), or a list such as 96,128"


def device_counts(text: str) -> tuple[int, ...]:
    """The numbers that a text stands for, ascending and each once.

    Args:
        text: parts with commas between, each a number or ``first:last:xFACTOR`` or
            ``first:last:+STEP``.

    Raises:
        SpecError: if a part is neither, or they are too many.
    """
    counts: set[int] = set()
    for part in text.split(","):
        counts.update(_part(part.strip(), text))
        if len(counts) > MAX_COUNTS:
            raise SpecError(f"'{text[:80]}' is more than {MAX_COUNTS} numbers", where="--devices")
    return tuple(sorted(counts))


def _part(part: str, text: str) -> list[int]:
    if part.isascii() and part.isdigit() and int(part) > 0:
        return [int(part)]
    match = _RANGE.match(part)
    if match is None:
        raise SpecError(
            f"'{part[:40]}' in '{text[:80]}' is no number of devices and no range of them",
            where="--devices",
            hint=_HINT,
        )
    first, last, step = int(match[1]), int(match[2]), int(match[4])
    multiplies = match[3] == "x"
    if first < 1 or last < first or step < (2 if multiplies else 1):
        raise SpecError(
            f"'{part[:40]}' is an empty or endless range", where="--devices", hint=_HINT
        )
    found = [first]
    while (
        len(found) <= MAX_COUNTS
        and (following := found[-1] * step if multiplies else found[-1] + step) <= last
    ):
        found.append(following)
    return found
