"""Loads accelerators, nodes and clusters: a preset's name, a path, or a mapping.

A file may start from another one with ``extends: <name or path>``: mappings merge key by key,
except that a block with its own ``source`` replaces the whole block, so that no figure inherits a
source that is not its own. ``null`` removes a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, cast

from simulator.errors import SpecError, TrainsimError, as_written
from simulator.machine import Accelerator, Cluster, Node
from simulator.spec.accelerators import AcceleratorSpec
from simulator.spec.clusters import ClusterSpec
from simulator.spec.nodes import NodeSpec
from simulator.spec.validate import shown_value, validate
from simulator.spec.yaml_file import find_data, read_yaml

Kind = Literal["accelerators", "nodes", "clusters"]
Description = str | Path | Mapping[str, object]
"""A preset's name, the path of a YAML file, or the description itself."""
_DEFAULT_NAME: Final = {"accelerators": "accelerator", "nodes": "node", "clusters": "cluster"}


def load_accelerator(source: Description, *, base_dir: Path | None = None) -> Accelerator:
    """One accelerator.

    Args:
        source: a preset's name, a path, or a mapping.
        base_dir: directory to which a path is relative, and whose files are presets too.

    Raises:
        SpecError: if anything in the description is wrong, with file, key and hint.
    """
    if isinstance(source, str) and base_dir is None and not _is_path(source):
        return _shipped_accelerator(source)
    return _accelerator(source, base_dir)


def load_node(source: Description, *, base_dir: Path | None = None) -> Node:
    """One node; arguments and errors as ``load_accelerator``."""
    if isinstance(source, str) and base_dir is None and not _is_path(source):
        return _shipped_node(source)
    return _node(source, base_dir)


def load_cluster(
    source: Description, *, num_nodes: int | None = None, base_dir: Path | None = None
) -> Cluster:
    """One cluster, or ``num_nodes`` nodes of it; other arguments as ``load_accelerator``.

    Raises:
        SpecError: also if the cluster has fewer nodes than asked for.
    """
    if isinstance(source, str) and base_dir is None and not _is_path(source):
        return _shipped_cluster(source, num_nodes)
    return _cluster(source, num_nodes, base_dir)


@lru_cache(maxsize=256)
def _shipped_accelerator(name: str) -> Accelerator:
    return _accelerator(name, None)


@lru_cache(maxsize=256)
def _shipped_node(name: str) -> Node:
    return _node(name, None)


@lru_cache(maxsize=1024)
def _shipped_cluster(name: str, num_nodes: int | None) -> Cluster:
    return _cluster(name, num_nodes, None)


def _accelerator(source: Description, base_dir: Path | None) -> Accelerator:
    found = _resolve("accelerators", source, base_dir)
    return validate(AcceleratorSpec, found.data, found.where).build()


def _node(source: Description, base_dir: Path | None) -> Node:
    found = _resolve("nodes", source, base_dir)
    spec = validate(NodeSpec, found.data, found.where)
    try:
        return spec.build(load_accelerator(spec.accelerator, base_dir=found.base_dir))
    except TrainsimError as error:
        raise error.at(found.where) from None


def _cluster(source: Description, num_nodes: int | None, base_dir: Path | None) -> Cluster:
    found = _resolve("clusters", source, base_dir)
    spec = validate(ClusterSpec, found.data, found.where)
    try:
        return spec.build(load_node(spec.node, base_dir=found.base_dir), num_nodes)
    except TrainsimError as error:
        raise error.at(found.where) from None


@dataclass(frozen=True, slots=True)
class _Resolved:
    """A description after ``extends``, and where its own references start from."""

    data: dict[str, object]
    where: str
    base_dir: Path | None


def _is_path(source: str) -> bool:
    return source.endswith((".yaml", ".yml")) or "/" in source or "\\" in source


def _resolve(
    kind: Kind, source: Description, base_dir: Path | None, seen: tuple[str, ...] = ()
) -> _Resolved:
    """The description with everything it extends merged in.

    Raises:
        SpecError: if it extends itself, directly or over others.
    """
    raw = _read(kind, source, base_dir)
    # One file may be reached by several relative paths.
    place = raw.where if isinstance(source, Mapping) else str(Path(raw.where).resolve())
    if place in seen:
        chain = " -> ".join((*seen, place))
        raise SpecError(
            f"'extends' goes in a circle: {chain}", where=raw.where, hint="remove one of them"
        )
    parent = raw.data.pop("extends", None)
    if parent is None:
        return raw
    if not isinstance(parent, str):
        raise SpecError(
            f"{as_written(parent)} is not a name or a path", where=f"{raw.where}: extends"
        )
    try:
        # A mapping has no file, so it can never be part of a circle: all inline names are equal.
        inline = isinstance(source, Mapping)
        chain = seen if inline else (*seen, place)
        base = _resolve(kind, parent, raw.base_dir, chain)
    except TrainsimError as error:
        raise error.at(f"{raw.where}: extends") from None
    return _Resolved(merge(base.data, raw.data), raw.where, raw.base_dir)


def _read(kind: Kind, source: Description, base_dir: Path | None) -> _Resolved:
    if isinstance(source, Mapping):
        data: dict[str, object] = {"name": _DEFAULT_NAME[kind], **source}
        return _Resolved(data, f"{_DEFAULT_NAME[kind]} '{data['name']}'", base_dir)
    if isinstance(source, Path) or _is_path(source):
        path = (base_dir or Path()) / source
        base_dir = path.parent
    else:
        path = find_data(kind, source, () if base_dir is None else (base_dir,))
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise SpecError(
            f"{shown_value(content)} is not a mapping",
            where=str(path),
            hint="write keys and values, 'key: value'",
        )
    data = {"name": path.stem, **cast("dict[str, object]", content)}
    return _Resolved(data, str(path), base_dir)


def merge(base: Mapping[str, object], own: Mapping[str, object]) -> dict[str, object]:
    """``base`` with the keys of ``own`` on top; see the module's description."""
    merged = dict(base)
    for key, value in own.items():
        below = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif _is_block(value) and _is_block(below):
            merged[key] = merge(
                cast("Mapping[str, object]", below), cast("Mapping[str, object]", value)
            )
        else:
            merged[key] = value
    return merged


def _is_block(value: object) -> bool:
    """A mapping that may be merged: one without a source and a kind of its own."""
    return isinstance(value, Mapping) and not {"source", "kind"} & set(
        cast("Mapping[object, object]", value)
    )
