"""Optional dependencies: imported when needed, with an error that names the extra."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from simulator.errors import SpecError


@contextmanager
def needs(extra: str, for_what: str) -> Generator[None]:
    """Around an import of what the extra brings.

    Raises:
        SpecError: if it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise SpecError(
            f"{for_what} needs the package '{error.name}', which is not installed",
            hint=f"pip install 'trainsim[{extra}]'",
        ) from None
