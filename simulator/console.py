"""What all commands share: errors as exit codes, output on stdout or into files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Final, ParamSpec

import typer

from simulator.errors import NothingFitsError, TrainsimError
from simulator.progress import Progress, silent

if TYPE_CHECKING:
    from rich.console import RenderableType

    from simulator.machine import Assumption

INTERNAL_ERROR: Final = 1
BAD_INPUT: Final = 2
DOES_NOT_FIT: Final = 3
"""In memory, or in the time or the money that there is."""
DEBUG_VARIABLE: Final = "TRAINSIM_DEBUG"

P = ParamSpec("P")


def examples(*commands: str) -> str:
    """The end of a help text; the backspace keeps the lines from being wrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  trainsim {command}" for command in commands)


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Turns errors into one message on stderr and the exit code that belongs to them."""

    @wraps(command)
    def run_guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (typer.Exit, BrokenPipeError):
            raise
        except TrainsimError as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            typer.echo(f"error: {error}", err=True)
            code = DOES_NOT_FIT if isinstance(error, NothingFitsError) else BAD_INPUT
            raise typer.Exit(code) from None
        except OSError as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            what = error.strerror or str(error).partition("\n")[0] or type(error).__name__
            place = f": '{str(error.filename)[:80]}'" if error.filename is not None else ""
            typer.echo(f"error: {what[:200]}{place}", err=True)
            raise typer.Exit(BAD_INPUT) from None
        except Exception as error:
            if os.environ.get(DEBUG_VARIABLE):
                raise
            first = (str(error).splitlines() or [""])[0][:200]
            typer.echo(
                f"internal error: {type(error).__name__}: {first}\n\n"
                f"hint: this is a bug in trainsim; {DEBUG_VARIABLE}=1 shows where it happened",
                err=True,
            )
            raise typer.Exit(INTERNAL_ERROR) from None

    return run_guarded


def as_json(data: object) -> str:
    """JSON text as every command prints it."""
    return json.dumps(data, indent=2, allow_nan=False)


def exit_unless(possible: bool) -> None:
    """Ends a command that has shown its result with ``DOES_NOT_FIT`` if nothing of it can be."""
    if not possible:
        raise typer.Exit(DOES_NOT_FIT)


def show(view: RenderableType) -> None:
    """Prints a view on stdout."""
    from simulator.views import print_view

    print_view(view)


@contextmanager
def progress() -> Generator[Progress]:
    """Shows on a terminal what is done, how far it is, the rate and the time left."""
    if not sys.stderr.isatty():
        yield silent
        return
    from simulator.progress_bar import shown_progress

    with shown_progress() as shown:
        yield shown


@contextmanager
def busy(what: str) -> Generator[None]:
    """Says on a terminal that work goes on which cannot say how far it is."""
    with progress() as shown:
        shown(what, 0, None)
        yield


def note_fabric(assumptions: Iterable[Assumption]) -> None:
    """Says on stderr what a prediction leaves out of the machine's network, if anything."""
    for taken in assumptions:
        if taken.name == "fabric":
            typer.echo(f"note: fabric {taken.value}; {taken.source}", err=True)
        if taken.name == "tiers of all nodes":
            typer.echo(f"note: {taken.value}; {taken.source}", err=True)


def write(path: Path, content: str | bytes) -> None:
    """Writes a whole file or none, and says so."""
    from simulator.views import write_whole

    write_whole(path, content)
    typer.echo(f"wrote {path}", err=True)
