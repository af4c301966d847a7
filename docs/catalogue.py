"""docs/catalogue.md: every figure of hardware/*.yaml beside its source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, cast

from simulator.spec.yaml_file import read_yaml

HARDWARE: Final = Path(__file__).parents[1] / "hardware"
KINDS: Final = ("accelerators", "nodes", "clusters", "stacks", "models")
LISTS: Final = ("tiers", "assumptions")
"""Keys that hold a list of named blocks, each with its source."""
_INTRODUCTION: Final = """# Catalogue

Every figure that ships, with its source; written by `python -m docs.generate` from `hardware/`.
*From memory* marks a figure whose document was not at hand, *estimate* and *assumed* one that was
not published. `extends` means that whatever is not listed is that of the other entry. Bandwidths
are per direction, peaks dense."""

Yaml = Mapping[str, object]
Row = tuple[str, str, str]


def page() -> str:
    """The whole page."""
    parts = [_INTRODUCTION]
    for kind in KINDS:
        parts.append(f"## {kind.capitalize()}")
        for path in sorted((HARDWARE / kind).glob("*.yaml")):
            content = cast("Yaml", read_yaml(path))
            parts += _models(path, content) if kind == "models" else [_entry(path, content)]
    return "\n\n".join(parts) + "\n"


def _models(path: Path, presets: Yaml) -> list[str]:
    """One table for all models of a file."""
    rows = [
        (name, _shown({k: v for k, v in fields.items() if k != "source"}), str(fields["source"]))
        for name, fields in cast("Mapping[str, Yaml]", presets).items()
    ]
    return [f"### {path.stem}\n\n{_table(('model', 'shape', 'source'), rows)}"]


def _entry(path: Path, content: Yaml) -> str:
    rows = list(_rows("", content))
    return f"### {path.stem}\n\n{_table(('figure', 'value', 'source'), rows)}"


def _rows(prefix: str, block: Yaml) -> Iterator[Row]:
    """A row per figure; a block with a source of its own, such as a fitted curve, is one row."""
    for key, value in block.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            inner = cast("Yaml", value)
            if "source" in inner:
                yield _sourced(name, inner)
            else:
                yield from _rows(f"{name}.", inner)
        elif key in LISTS:
            for item in cast("list[Yaml]", value):
                figures = {k: v for k, v in item.items() if k != "name"}
                yield _sourced(f"{name}.{item['name']}", figures)
        elif key != "name":
            yield name, _shown(value), ""


def _sourced(name: str, block: Yaml) -> Row:
    figures = {key: value for key, value in block.items() if key != "source"}
    alone = figures["value"] if figures.keys() == {"value"} else figures
    return name, _shown(alone), str(block["source"])


def _shown(value: object) -> str:
    match value:
        case dict():
            pairs = cast("Mapping[object, object]", value).items()
            return ", ".join(f"{key} {_shown(item)}" for key, item in pairs)
        case list():
            return "[" + ", ".join(_shown(item) for item in cast("list[object]", value)) + "]"
        case bool():
            return "yes" if value else "no"
        case None:
            return "none"
        case _:
            return str(value)


def _table(columns: tuple[str, str, str], rows: list[Row]) -> str:
    cells = [[cell.replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in rows]
    lines = [columns, ("---",) * len(columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
