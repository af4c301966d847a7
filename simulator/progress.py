"""How work that takes seconds says how far it is. Who shows it, and how, is none of its business.

A function that may take long has a parameter ``progress: Progress = silent`` and tells it as often
as it likes: what it does, how many are done and how many there are. Counts that start anew, or of
another total, are those of other work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias, TypeVar

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""``(what, done, total)``; the total is None if nobody knows it."""

T = TypeVar("T")


def silent(what: str, done: int, total: int | None) -> None:
    """Progress that nobody sees."""


def followed(
    items: Iterable[T], what: str, progress: Progress, total: int | None = None
) -> Iterator[T]:
    """The items, told: none at first, then each once the next one is asked for.

    Args:
        items: to go through.
        what: is done to them.
        progress: is told.
        total: how many there are; None for the length of a sequence.
    """
    if total is None and isinstance(items, Sequence):
        total = len(items)
    progress(what, 0, total)
    for done, item in enumerate(items, start=1):
        yield item
        progress(what, done, total)


def part_of(progress: Progress, before: int, total: int) -> Progress:
    """Progress of a part of some work, told as that of the whole.

    Args:
        progress: of the whole.
        before: how many were done before the part.
        total: of the whole.
    """
    return lambda what, done, _: progress(what, before + done, total)


def named(progress: Progress, name: str) -> Progress:
    """Progress of one of several things that do the same, each told with its name."""
    return lambda what, done, total: progress(f"{name}: {what}", done, total)
