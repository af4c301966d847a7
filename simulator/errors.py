"""The exceptions a user can meet, and the value that says why something does not fit.

    TrainsimError (ValueError)
    ├── SpecError          a file, a key or a quantity is wrong
    │   └── UnknownNameError   a name is not in a table; lists the nearest ones
    ├── PlanError          the plan breaks a rule (divisibility, group sizes)
    │   └── NothingFitsError   no plan of several fits in memory
    └── ScheduleError      a pipeline schedule is invalid; prints the grid

``str(error)`` is the whole message: what is wrong with all operands, where, then a hint.
Memory that does not suffice for one plan is a result (``OutOfMemory`` on the report), not an
exception.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import cast


def as_written(value: object) -> str:
    """A value as YAML says it on one line, for messages: ``null``, ``true``, ``{a: [1, b]}``."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float() if not math.isfinite(value):
            return str(value).replace("inf", ".inf").replace("nan", ".nan")
        case Mapping():
            pairs = cast("Mapping[object, object]", value).items()
            return f"{{{', '.join(f'{as_written(k)}: {as_written(v)}' for k, v in pairs)}}}"
        case list() | tuple():
            return f"[{', '.join(map(as_written, cast('Iterable[object]', value)))}]"
        case _:
            return str(value)


class TrainsimError(ValueError):
    """Base of all errors caused by input.

    Args:
        problem: what is wrong, with all operands, without a trailing period.
        where: the file and the path of the key, for example ``a.yaml: plan.pp``.
        hint: what would be right.
    """

    def __init__(self, problem: str, *, where: str = "", hint: str = "") -> None:
        self.problem = problem
        self.where = where
        self.hint = hint
        super().__init__(problem)

    def at(self, where: str) -> TrainsimError:
        """The same error with a place, where none was known yet."""
        return type(self)(self.problem, where=self.where or where, hint=self.hint)

    def __str__(self) -> str:
        place = f"\n  at {self.where}" if self.where else ""
        hint = f"\n\nhint: {self.hint}" if self.hint else ""
        return f"{self.problem}{place}{hint}"


class SpecError(TrainsimError):
    """A file, a key or a quantity is wrong."""


class UnknownNameError(SpecError):
    """A name that is not in its table."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str], *, where: str = "") -> UnknownNameError:
        """The error for ``name``, with the nearest of the ``known`` names as a hint."""
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        listing = ", ".join(names) if len(names) <= 24 else ", ".join(names[:24]) + ", ..."
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {listing}"
        return cls(f"unknown {kind} '{name}'", where=where, hint=hint)


class PlanError(TrainsimError):
    """The plan breaks a rule of divisibility or of group sizes."""


class NothingFitsError(PlanError):
    """No plan of several fits in memory, so that there is none to show."""


class ScheduleError(TrainsimError):
    """A pipeline schedule is invalid."""
