"""docs/model.md: what every public function of the model computes, and by which source."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "simulator"
WHOLE: Final = ("cost", "schedule")
"""Folders of which every public function is listed; elsewhere only those that cite a source."""
_OUTSIDE: Final = ("spec", "published", "report", "engine")
"""Folders without equations of the model."""
_SECTION: Final = re.compile(r"^[A-Z][a-z]+:( |$)")
_INTRODUCTION: Final = """# Equations

What each part of the model computes and where it comes from; written by `python -m docs.generate`
from the docstrings. Numbers (peaks, efficiencies, latencies) stand in the catalogue
(`docs/catalogue.md`), their errors in `docs/kernels.md` and `docs/accuracy.md`, symbols in
`docs/nomenclature.md`. Functions without a source are definitions, or follow from the module's."""


@dataclass(frozen=True, slots=True)
class Equation:
    """One function, method or constant of a module."""

    name: str
    what: str
    source: str
    assumes: str


def page() -> str:
    """The whole page."""
    parts = [_INTRODUCTION]
    for path in sorted(PACKAGE.rglob("*.py")):
        folder = path.relative_to(PACKAGE).parts[0]
        if folder in _OUTSIDE:
            continue
        of_module, found = equations(path)
        if folder not in WHOLE:
            found = [equation for equation in found if equation.source]
        if of_module or any(equation.source for equation in found):
            parts.append(_section(path, of_module, found))
    return "\n\n".join(parts) + "\n"


def equations(path: Path) -> tuple[str, list[Equation]]:
    """The source of a module as a whole; its public functions and its constants with a source."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    found: list[Equation] = []
    for before, node in pairwise([module.body[0], *module.body]):
        match node:
            case ast.FunctionDef(name=name) if not name.startswith("_"):
                found.append(_equation(f"{name}()", ast.get_docstring(node) or ""))
            case ast.Expr(value=ast.Constant(value=str(text))) if _assigned(before):
                constant = _equation(_assigned(before), text)
                found += [constant] if constant.source else []
            case _:
                pass
    return _paragraph(ast.get_docstring(module) or "", "Source"), found


def _assigned(node: ast.AST) -> str:
    """The name that a statement binds, for the string after it that documents it."""
    match node:
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name
        case _:
            return ""


def _equation(name: str, docstring: str) -> Equation:
    text = "\n".join(line.strip() for line in docstring.strip().splitlines())
    what = " ".join(text.partition("\n\n")[0].split()).partition(" Source:")[0]
    return Equation(name, what, _paragraph(text, "Source"), _paragraph(text, "Assumes"))


def _paragraph(text: str, heading: str) -> str:
    """What follows ``heading:`` up to the next heading or empty line."""
    _, found, rest = text.partition(f"{heading}:")
    if not found:
        return ""
    first, *others = rest.strip("\n").splitlines()
    lines = [first.strip()]
    for line in others:
        if not line.strip() or _SECTION.match(line.strip()):
            break
        lines.append(line.strip())
    return " ".join(lines).strip()


def _section(path: Path, of_module: str, rows: list[Equation]) -> str:
    lines = ["| name | what | source | assumes |", "|---|---|---|---|"]
    lines += [
        f"| `{row.name}` | {_cell(row.what)} | {_cell(row.source)} | {_cell(row.assumes)} |"
        for row in rows
    ]
    source = f"Source: {of_module}\n\n" if of_module else ""
    table = "\n".join(lines) if rows else "The source is that of the whole module."
    return f"## {path.relative_to(ROOT).as_posix()}\n\n{source}{table}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`")
