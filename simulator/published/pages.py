"""The forms in which a validation can be written to a file: one row per suffix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from simulator.errors import SpecError
from simulator.published.accuracy_markdown import accuracy_markdown
from simulator.published.accuracy_page import accuracy_page
from simulator.published.results import ValidationResult

PAGES: Final[Mapping[str, Callable[[ValidationResult], str]]] = {
    ".md": accuracy_markdown,
    ".html": accuracy_page,
}
"""Suffix of a file -> what renders it."""


def page_renderer(path: Path) -> Callable[[ValidationResult], str]:
    """What renders a file of this name.

    Raises:
        SpecError: if no form has this suffix.
    """
    if path.suffix not in PAGES:
        raise SpecError(
            f"'{path.name}' has the suffix '{path.suffix}', which is no form of page",
            where="--page",
            hint=f"name a file that ends in {' or '.join(PAGES)}",
        )
    return PAGES[path.suffix]
