"""Arguments and options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar, overload

import typer

from simulator.errors import SpecError, TrainsimError

ScenarioArgument = Annotated[
    str, typer.Argument(help="A scenario file, or the name of a shipped one.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Replace a value of the scenario; repeat as needed."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
TableFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--table",
        "--csv",
        metavar="FILE",
        help="Write a row per result: FILE.csv or FILE.parquet; repeat for both.",
    ),
]
HtmlFile = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write plots and tables as one page.")
]


T = TypeVar("T")


@overload
def option_value(name: str, text: str, parse: Callable[[str], T]) -> T: ...
@overload
def option_value(name: str, text: str | None, parse: Callable[[str], T]) -> T | None: ...
def option_value(name: str, text: str | None, parse: Callable[[str], T]) -> T | None:
    """What the text of an option means, None if it is not given; errors name the option."""
    if text is None:
        return None
    try:
        return parse(text)
    except TrainsimError as error:
        raise error.at(name) from None


@overload
def number_within(name: str, value: float, low: float, high: float, hint: str) -> float: ...
@overload
def number_within(
    name: str, value: float | None, low: float, high: float, hint: str
) -> float | None: ...
def number_within(
    name: str, value: float | None, low: float, high: float, hint: str
) -> float | None:
    """The number of an option, None if it is not given.

    Args:
        name: of the option, for errors.
        value: what was given.
        low: the least that is allowed.
        high: the most.
        hint: what the number means, with an example.

    Raises:
        SpecError: if it is no number or outside the range.
    """
    if value is None or low <= value <= high:
        return value
    raise SpecError(f"{value:g} is not between {low:g} and {high:,.10g}", where=name, hint=hint)
