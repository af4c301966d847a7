"""docs/model.md: what every public function of the model computes, and by which source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "simulator"
WHOLE: Final = ("cost", "schedule")
"""Folders of which every public function is listed; elsewhere only those that cite a source."""
_OUTSIDE: Final = ("spec", "published", "report")
_SECTION: Final = re.compile(r"^[A-Z][a-z]+:( |$)")
_INTRODUCTION: Final = """# Equations

What each part of the model computes and where it comes from; written by `python -m docs.generate`
from the docstrings. A source in *italics* is that of the whole module. Numbers (peaks, efficiencies,
latencies) stand in the catalogue (`docs/catalogue.md`), their errors in `docs/kernels.md` and
`docs/accuracy.md`, symbols in `docs/nomenclature.md`."""


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
        found = list(equations(path))
        cited = [e for e in found if e.source]
        shown = found if folder in WHOLE and cited else cited
        if shown:
            parts.append(_section(path, shown))
    return "\n\n".join(parts) + "\n"


def equations(path: Path) -> Iterator[Equation]:
    """The public functions of a module, and its constants that cite a source."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    of_module = _paragraph(ast.get_docstring(module) or "", "Source")
    for before, node in zip([None, *module.body], module.body, strict=False):
        match node:
            case ast.FunctionDef(name=name) if not name.startswith("_"):
                yield _equation(f"{name}()", ast.get_docstring(node) or "", of_module)
            case ast.Expr(value=ast.Constant(value=str(text))) if before is not None:
                name = _assigned(before)
                if name and "Source:" in text:
                    yield _equation(name, text, "")
            case _:
                pass


def _assigned(node: ast.AST) -> str:
    """The name that a statement binds, for the string after it that documents it."""
    match node:
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name
        case _:
            return ""


def _equation(name: str, docstring: str, of_module: str) -> Equation:
    text = "\n".join(line.strip() for line in docstring.strip().splitlines())
    own = _paragraph(text, "Source")
    what = " ".join(text.partition("\n\n")[0].split()).partition(" Source:")[0]
    source = own or (f"*{of_module}*" if of_module else "")
    return Equation(name, what, source, _paragraph(text, "Assumes"))


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


def _section(path: Path, rows: list[Equation]) -> str:
    lines = ["| name | what | source | assumes |", "|---|---|---|---|"]
    lines += [
        f"| `{row.name}` | {_cell(row.what)} | {_cell(row.source)} | {_cell(row.assumes)} |"
        for row in rows
    ]
    table = "\n".join(lines)
    return f"## {path.relative_to(ROOT).as_posix()}\n\n{table}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`")
