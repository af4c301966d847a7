"""What a calibration refuses to read and write before anything is fitted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from simulator.errors import SpecError
from simulator.spec.hardware import load_accelerator, load_node
from simulator.spec.stacks import stack_files
from simulator.spec.yaml_file import find_data, read_yaml

_SUFFIXES = (".yaml", ".yml")
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def hardware_files(kind: str, base: str) -> tuple[Path, ...]:
    """The file of an accelerator or a node, the one it extends, and so on.

    Args:
        kind: ``accelerators`` or ``nodes``.
        base: a shipped name, or the path of a file.

    Raises:
        SpecError: if the description is wrong.
    """
    if kind == "accelerators":
        load_accelerator(base)
    else:
        load_node(base)
    files: list[Path] = []
    folder, place = Path(), base
    while place:
        is_path = place.endswith(_SUFFIXES) or "/" in place or "\\" in place
        path = folder / place if is_path else find_data(kind, place, (folder,) if files else ())
        files.append(path)
        # The description is valid, so it is a mapping.
        place = str(cast("dict[str, object]", read_yaml(path)).get("extends") or "")
        folder = path.parent
    return tuple(files)


def refuse_overwriting(
    out: Path | None, extended: Sequence[Path], inputs: Iterable[Path | None] = ()
) -> None:
    """A file must neither extend itself, nor replace what it was fitted to.

    Args:
        out: to write, None for nothing.
        extended: the file that it would extend, and those below.
        inputs: measurements.

    Raises:
        SpecError: if it is one of them.
    """
    if out is None:
        return
    for path in extended:
        if _same(out, path):
            raise SpecError(
                "--out is the file it would extend",
                where=f"--out {out}",
                hint="give the new file another name",
            )
    for path in inputs:
        if path is not None and _same(out, path):
            raise SpecError(
                "--out is a file of measurements it reads",
                where=f"--out {out}",
                hint="give the new file another name",
            )


def _same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()


def refuse_rowless(name: str, tables: Sequence[Path]) -> None:
    """A stack of one's own is fitted on tables that are named, not on every shipped one.

    Raises:
        SpecError: if there is none.
    """
    if name.endswith(_SUFFIXES) and not tables:
        raise SpecError(
            "a stack of your own needs rows",
            where=f"calibrate stack {name}",
            hint="give the table of your runs with --rows FILE.csv; a shipped stack is given by "
            "its name, without .yaml",
        )


def refuse_installed(paths: Iterable[Path]) -> None:
    """Files of an installed copy are not changed: the next installation would undo it.

    Raises:
        SpecError: if one lies under a folder of installed packages.
    """
    for path in paths:
        if _INSTALLED & {*path.absolute().parts, *path.resolve().parts}:
            raise SpecError(
                f"'{path}' belongs to an installed copy of trainsim, which is not changed",
                where="--write",
                hint="install it editable (pip install -e) from a checkout, or write a stack of "
                "your own with --out FILE.yaml",
            )


def stack_paths(name: str) -> tuple[Path, ...]:
    """The file of a stack, the one it extends, and so on."""
    return tuple(file.path for file in stack_files(name))
