"""Reads YAML files safely, with numbers as YAML 1.2 defines them, and finds the shipped ones."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Final

import yaml

from simulator.errors import SpecError, UnknownNameError

MAX_BYTES: Final = 1_000_000
"""Largest file that is read; the largest shipped one has a few kilobytes."""
MAX_DEPTH: Final = 32
"""Deepest nesting that is read."""
_SUFFIXES: Final = (".yaml", ".yml")
_CHECKOUT_PLACE: Final = {"published": "benchmarks/published"}
"""Data folders that lie elsewhere in a checkout than under their own name."""

Scalar = str | int | float | bool | None
_WORDS: Final[dict[str, Scalar]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# YAML 1.2, section 10.3.2 (core schema). PyYAML implements 1.1, where 400e9 is a string, "no" is
# false and 010 is 8.
_INTEGER: Final = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_INFINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_MAX_DIGITS: Final = 30


def read_yaml(path: Path) -> object:
    """The content of one YAML file: mappings, lists and scalars.

    Anchors, aliases and tags are refused, so that a small file cannot expand into a large value.

    Raises:
        SpecError: if the file is missing, no regular text file, too large, not UTF-8 or no valid
            YAML, or if a key occurs twice; with the file and, where there is one, the line.
    """
    return parse_yaml(_read_text(path), str(path))


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise SpecError(f"'{path}' is a directory, not a YAML file", hint="name a file in it")
    if not path.exists():
        raise SpecError(f"there is no file '{path}'", hint=near_files(path))
    try:
        with path.open("rb") as file:
            # One byte more than allowed shows that there is more, also for pipes and devices.
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError(f"cannot read '{path}': {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise SpecError(
            f"'{path}' is larger than {MAX_BYTES:,} bytes", hint="is it really a YAML description?"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(
            f"'{path}' is not UTF-8 text (byte {error.start})", hint="save it as UTF-8 YAML"
        ) from None
    if "\0" in text:
        raise SpecError(f"'{path}' is a binary file", hint="name a YAML file")
    return text


def near_files(path: Path) -> str:
    """A hint: files beside the missing one whose name is near."""
    folder = path.parent
    if not folder.is_dir():
        return f"there is no directory '{folder}' either"
    names = sorted(p.name for p in folder.iterdir() if p.suffix in _SUFFIXES)
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else ""


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not been seen yet."""

    value: dict[Scalar, object] | list[object]
    key: Scalar = None
    has_key: bool = field(default=False)


def parse_yaml(text: str, where: str) -> object:
    """The value of YAML text; ``where`` names its origin in errors. See ``read_yaml``."""
    # Tables of runs read the same few files again and again; the caller may change what it gets.
    return copy.deepcopy(_parsed(text, where))


@lru_cache(maxsize=256)
def _parsed(text: str, where: str) -> object:
    try:
        return _build(text, where)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        problem = error.problem or "it cannot be parsed"
        raise SpecError(f"not valid YAML: {problem}", where=f"{where}{line}") from None
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise SpecError(f"not valid YAML: {first}", where=where) from None


def _build(text: str, where: str) -> object:
    """Builds the value from parser events, without recursion."""
    stack: list[_Open] = [_Open([])]
    root = stack[0].value
    for event in _events(text):
        place = f"{where}, line {event.start_mark.line + 1}" if event.start_mark else where
        _refuse(event, place)
        match event:
            case yaml.ScalarEvent():
                value = _scalar(event, place)
                _put(stack[-1], value, place)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                opened: dict[Scalar, object] | list[object]
                opened = {} if isinstance(event, yaml.MappingStartEvent) else []
                _put(stack[-1], opened, place)
                stack.append(_Open(opened))
                if len(stack) > MAX_DEPTH:
                    raise SpecError(f"nested deeper than {MAX_DEPTH} levels", where=place)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                stack.pop()
            case yaml.DocumentStartEvent() if root:
                raise SpecError(
                    "more than one document", where=place, hint="keep one, without '---' in it"
                )
            case _:
                pass
    if not root or root == [None]:
        raise SpecError("the file is empty", where=where)
    return next(iter(root))


def _events(text: str) -> Iterator[yaml.Event]:
    """Parser events; the C parser keeps its own stack, so that nesting cannot overflow ours."""
    yield from yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def _refuse(event: yaml.Event, place: str) -> None:
    """Refuses anchors, aliases and explicit tags."""
    if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
        kind = "alias '*" if isinstance(event, yaml.AliasEvent) else "anchor '&"
        raise SpecError(
            f"{kind}{event.anchor}' is not allowed", where=place, hint="write the value out"
        )
    tagged = isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent))
    if tagged and event.tag is not None:
        raise SpecError(f"tag '{event.tag}' is not allowed", where=place, hint="leave it out")


def _put(target: _Open, value: object, place: str) -> None:
    """Adds a value to a list, or a key and then its value to a mapping."""
    if isinstance(target.value, list):
        target.value.append(value)
        return
    if target.has_key:
        target.value[target.key] = value
        target.has_key = False
        return
    if not isinstance(value, Scalar):
        raise SpecError("a key must be a word or a number", where=place)
    if value in target.value:
        raise SpecError(f"the key '{value}' occurs twice", where=place, hint="remove one of them")
    target.key, target.has_key = value, True


def _scalar(event: yaml.ScalarEvent, place: str) -> Scalar:
    """A plain scalar by the YAML 1.2 core schema; a quoted or block one is a string."""
    text = event.value
    if event.style in ("'", '"', "|", ">"):
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        if len(text) > _MAX_DIGITS:
            raise SpecError(f"the number {text[:12]}... has {len(text)} digits", where=place)
        return int(text)
    if _FLOAT.match(text) or _INFINITE.match(text):
        return float(text.replace(".", "") if _INFINITE.match(text) else text)
    return text


def data_dir(folder: str) -> Path:
    """A folder of shipped data (``hardware``, ``scenarios``, ``published``).

    In a checkout it is the one beside the package, else the copy installed with it.
    """
    checkout = Path(__file__).parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / _CHECKOUT_PLACE.get(folder, folder)
    return Path(str(files("simulator").joinpath("_data", folder)))


def find_data(kind: str, name: str, extra_dirs: Sequence[Path] = ()) -> Path:
    """The file ``hardware/<kind>/<name>.yaml``, or ``<name>.yaml`` beside the user's own file.

    A shipped name always means the shipped file, so that a user's file can extend one of its own
    name; a path says otherwise.

    Args:
        kind: ``accelerators``, ``nodes``, ``clusters`` or another folder under ``hardware``.
        name: file stem; case and underscores do not matter.
        extra_dirs: directories of the user that may hold ``<name>.yaml`` as well.

    Raises:
        UnknownNameError: with the nearest names.
    """
    wanted = name.lower().replace("_", "-")
    for folder in (data_dir("hardware") / kind, *extra_dirs):
        path = folder / f"{wanted}.yaml"
        if _is_plain(wanted) and path.is_file():
            return path
    raise UnknownNameError.of(kind.removesuffix("s").replace("_", " "), name, list_data(kind))


def _is_plain(name: str) -> bool:
    """Whether a name is one path component, so that it cannot leave its folder."""
    return re.fullmatch(r"[a-z0-9][a-z0-9.+-]{,99}", name) is not None


@lru_cache
def list_data(kind: str) -> tuple[str, ...]:
    """Names of all shipped files of a kind, sorted."""
    return tuple(sorted(path.stem for path in (data_dir("hardware") / kind).glob("*.yaml")))
