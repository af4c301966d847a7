"""The ``console`` blocks of a page: commands, what they print, and how to run them.

A block shows commands after ``$`` and lines of their output after them; ``...`` stands for any
lines left out. ``$ echo $?`` shows the exit code of the command before it, which is 0 where it is
not shown. A ``yaml`` block whose first line is ``# some-name.yaml`` is a file the commands may use.
"""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from typer.testing import CliRunner

from simulator.cli import app

ELLIPSIS: Final = "..."
_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXIT_CODE: Final = "echo $?"


@dataclass(frozen=True, slots=True)
class Example:
    """One command with the lines that are shown after it."""

    command: str
    shown: tuple[str, ...]
    exit_code: int


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did."""

    output: tuple[str, ...]
    exit_code: int


def blocks(page: str, language: str) -> Iterator[str]:
    """The content of every fenced block of a language."""
    return (body for found, body in _FENCE.findall(page) if found == language)


def files(page: str) -> dict[str, str]:
    """Name and content of every file that the page shows."""
    named = ((body.partition("\n")[0], body) for body in blocks(page, "yaml"))
    return {head.removeprefix("# "): body for head, body in named if head.endswith(".yaml")}


def examples(page: str) -> list[Example]:
    """The commands of all console blocks, in order."""
    found: list[Example] = []
    for body in blocks(page, "console"):
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            command, *shown = part.rstrip("\n").splitlines()
            if command == _EXIT_CODE:
                before = found.pop()
                found.append(Example(before.command, before.shown, int(shown[0])))
            else:
                found.append(Example(command, tuple(shown), 0))
    return found


def run(command: str, folder: Path) -> Done:
    """Runs a ``trainsim`` command in this process, as if from ``folder``."""
    words = shlex.split(command)
    target = folder / words[words.index(">") + 1] if ">" in words else None
    arguments = words[1 : words.index(">")] if target else words[1:]
    with contextlib.chdir(folder):
        result = CliRunner().invoke(app, arguments)
    if target:
        target.write_text(result.stdout, encoding="utf-8")
        return Done(tuple(result.stderr.splitlines()), result.exit_code)
    return Done(tuple(result.output.splitlines()), result.exit_code)


def missing_line(shown: tuple[str, ...], output: tuple[str, ...]) -> str | None:
    """The first shown line that the output lacks; after ``...`` lines may be left out."""
    place, skipping = 0, False
    for line in shown:
        if line.strip() == ELLIPSIS:
            skipping = True
            continue
        end = len(output) if skipping else place + 1
        if line not in output[place:end]:
            return line
        place, skipping = output.index(line, place) + 1, False
    return None if skipping or place == len(output) else output[place]


def refreshed(page: str, folder: Path) -> str:
    """The page with every shown line replaced by the line of today's output it stands for."""
    for example in examples(page):
        done = run(example.command, folder)
        old, new = "\n".join(example.shown), "\n".join(_renewed(example.shown, done.output))
        head = f"$ {example.command}\n"
        page = page.replace(f"{head}{old}\n", f"{head}{new}\n") if old else page
    return page


def _renewed(shown: tuple[str, ...], output: tuple[str, ...]) -> list[str]:
    """The lines of the output with the labels of the shown ones; unknown ones stay."""
    lines: list[str] = []
    place = 0
    for line in shown:
        if line.strip() == ELLIPSIS:
            lines.append(line)
            continue
        later = range(place, len(output))
        same = [i for i in later if output[i] == line]
        same = same or [i for i in later if _label(output[i]) == _label(line)]
        place = same[0] + 1 if same else place
        lines.append(output[same[0]] if same else line)
    return lines


def _label(line: str) -> str:
    """The words at the start of a line, without numbers: what it is about."""
    columns = re.split(r"(?<=\S)\s{2,}", line.strip())
    labels = [re.sub(r"[\d.,]+", "#", column) for column in columns]
    return next((label for label in labels if label != "#"), "#")
