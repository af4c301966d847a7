"""The forms in which a validation can be written to a file: one row per suffix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from simulator.errors import SpecError
from simulator.published.document import Page
from simulator.published.document_html import html
from simulator.published.document_markdown import markdown

FORMS: Final[Mapping[str, Callable[[Page], str]]] = {".md": markdown, ".html": html}
"""Suffix of a file -> what renders a page."""


def page_renderer(path: Path) -> Callable[[Page], str]:
    """What renders a file of this name.

    Raises:
        SpecError: if no form has this suffix.
    """
    if path.suffix not in FORMS:
        raise SpecError(
            f"'{path.name}' has the suffix '{path.suffix}', which is no form of page",
            where="--page",
            hint=f"name a file that ends in {' or '.join(FORMS)}",
        )
    return FORMS[path.suffix]
