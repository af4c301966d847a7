"""The links of a ``graph`` as a file gives them: each row whole, between known ends, all joined."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias, cast

from pydantic import BeforeValidator

from simulator.errors import SpecError
from simulator.spec.quantity import BytesPerSecond, Seconds, Text
from simulator.spec.validate import shown_value

_COLUMNS: Final = ("a", "b", "bandwidth", "latency")
_EXAMPLE: Final = "write [a, b, bandwidth, latency], such as [node0, switch, 25 GB/s, 1 us]"
_LIKE_A_NODE: Final = re.compile(r"node[ _-]?\d+", re.IGNORECASE)


def _whole(row: object) -> object:
    """A row that has all its columns, and two different ends."""
    shown = shown_value(row)
    if not isinstance(row, list | tuple):
        raise SpecError(f"{shown} is not a link", hint=_EXAMPLE)
    columns = cast("Sequence[object]", row)
    lacks = ", ".join(f"'{name}'" for name in _COLUMNS[len(columns) :])
    if lacks:
        raise SpecError(f"link {shown} lacks {lacks}", hint=_EXAMPLE)
    if len(columns) > len(_COLUMNS):
        raise SpecError(f"link {shown} holds {len(columns)} values", hint=_EXAMPLE)
    if columns[0] == columns[1]:
        raise SpecError(
            f"link {shown} joins '{columns[0]}' with itself", hint="a link has two different ends"
        )
    return columns


LinkRow: TypeAlias = Annotated[tuple[Text, Text, BytesPerSecond, Seconds], BeforeValidator(_whole)]
"""Two ends, bandwidth per direction, latency."""


def check_graph(links: Sequence[tuple[str, str, float, float]], num_nodes: int) -> None:
    """Refuses links of nodes that there are not, and nodes that no link joins to the others.

    Args:
        links: ends, bandwidth, latency.
        num_nodes: of the whole cluster, ``node0`` to ``node<num_nodes - 1>``.

    Raises:
        SpecError: for the first such link or node.
    """
    nodes = [f"node{i}" for i in range(num_nodes)]
    known = frozenset(nodes)
    for place, (a, b, *_) in enumerate(links):
        unknown = [end for end in (a, b) if _LIKE_A_NODE.fullmatch(end) and end not in known]
        if unknown:
            raise SpecError(
                f"link {place} joins '{a}' and '{b}': of {num_nodes} nodes none is '{unknown[0]}'",
                hint=f"nodes are node0 to node{num_nodes - 1}, switches have other names; to use "
                "fewer nodes of a whole graph, leave 'num_nodes' and ask for {preset: FILE, "
                "nodes: COUNT}",
            )
    joined = _joined(links, "node0")
    alone = [node for node in nodes if node not in joined]
    if alone:
        raise SpecError(
            f"no way from 'node0' to '{alone[0]}': {len(alone)} of {num_nodes} nodes are left out",
            hint="every node needs a way to all others; if the cluster has fewer nodes, say "
            "'num_nodes: {value: COUNT, source: ...}'",
        )


def num_passed(links: Sequence[tuple[str, str, float, float]], num_nodes: int) -> int:
    """Nodes of a graph beyond the first so many: they only pass on what those send."""
    taken = {f"node{i}" for i in range(num_nodes)}
    ends = {end for a, b, *_ in links for end in (a, b)}
    return sum(1 for end in ends - taken if _LIKE_A_NODE.fullmatch(end))


def _joined(links: Sequence[tuple[str, str, float, float]], start: str) -> set[str]:
    """All parts that links lead to from one, itself included."""
    beside: dict[str, list[str]] = {}
    for a, b, *_ in links:
        beside.setdefault(a, []).append(b)
        beside.setdefault(b, []).append(a)
    found, border = {start}, [start]
    while border:
        new = {other for part in border for other in beside.get(part, ())} - found
        found |= new
        border = list(new)
    return found
