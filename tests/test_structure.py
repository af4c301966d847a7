"""What keeps the code readable: files of one idea, functions that fit on a screen."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import simulator

ROOT: Final = Path(simulator.__file__).parent
FILES: Final = sorted(ROOT.rglob("*.py"))
MAX_FILE_LINES: Final = 400
MAX_FUNCTION_LINES: Final = 50
MAX_COMMAND_LINES: Final = 25
"""Of a command of the command line: its options, text and late imports do not count."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, Function):
            yield node


def is_command(function: Function) -> bool:
    """Whether typer makes options and arguments of its parameters."""
    hints = [ast.unparse(arg.annotation) for arg in function.args.args if arg.annotation]
    return any("typer.Option(" in hint or "typer.Argument(" in hint for hint in hints)


def num_lines(function: Function) -> int:
    """Of a command the body without its docstring and imports, else of everything."""
    if not is_command(function):
        return (function.end_lineno or 0) - function.lineno + 1
    body = [node for node in function.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    return sum((node.end_lineno or 0) - node.lineno + 1 for node in body[1:])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES
    for function in functions(path):
        limit = MAX_COMMAND_LINES if is_command(function) else MAX_FUNCTION_LINES
        assert num_lines(function) <= limit, f"{function.name}, line {function.lineno}"


def test_commands_are_told_from_other_functions() -> None:
    (run,) = (f for f in functions(ROOT / "cli.py") if f.name == "run")
    (tradeoff,) = (f for f in functions(ROOT / "cli_planning.py") if f.name == "tradeoff")
    (rates,) = (f for f in functions(ROOT / "cli_planning.py") if f.name == "_rates")
    assert is_command(run)
    assert is_command(tradeoff)
    assert not is_command(rates)


def test_progress_is_drawn_in_one_place() -> None:
    """Others tell a ``simulator.progress.Progress``, whoever shows it."""
    drawing = {"rich.progress", "rich.status", "rich.live"}
    found = {
        path.name
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in drawing
    }
    assert found == {"progress_bar.py"}
