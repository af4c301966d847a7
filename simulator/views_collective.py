"""Tables and records of ``collective``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from simulator.collective_runs import CollectiveRun
from simulator.units import format_si
from simulator.views import table

_HEADERS: Final = ("ranks", "nodes", "bytes", "time", "algbw", "busbw", "algorithm", "bound by", "")
_BAR: Final = 24
"""Characters of the longest bar."""
_BINARY: Final = (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10))


def title(kind: str, cluster: str, stride: int, forced: Sequence[str]) -> str:
    """What is shown, in one line."""
    apart = f", ranks {stride} apart" if stride > 1 else ""
    choice = f", {' or '.join(forced)} forced" if forced else ""
    return f"{kind} on {cluster}{apart}{choice}"


def collective_view(
    heading: str, runs: Sequence[CollectiveRun], *, compare: bool
) -> RenderableType:
    """A line per run, with bars of the bus bandwidth; or a column per algorithm."""
    if compare:
        note = "fastest of those the library has: *"
        return Group(Text(heading), Text(), table(*compared(runs)), Text(), Text(note))
    return Group(Text(heading), Text(), table([*_lines(runs)], headers(runs)))


def headers(runs: Sequence[CollectiveRun]) -> tuple[str, ...]:
    """Of the lines of runs; the last is that of the bars."""
    ranks, _, *others = _HEADERS
    return (ranks, _place(runs), *others)


def _place(runs: Sequence[CollectiveRun]) -> str:
    """On what ranks lie: pods where a torus joins them, within which nodes do not matter."""
    return "pods" if any(run.pods is not None for run in runs) else "nodes"


def _num_places(run: CollectiveRun) -> str:
    return f"{run.nodes if run.pods is None else run.pods:,}"


def _lines(runs: Sequence[CollectiveRun]) -> list[list[str]]:
    most = max((run.bus_bytes_per_s for run in runs), default=0.0) or 1.0
    return [[*run_row(run), "█" * max(1, round(_BAR * run.bus_bytes_per_s / most))] for run in runs]


def run_row(run: CollectiveRun) -> list[str]:
    """The cells of a run, without its bar."""
    return [
        f"{run.ranks:,}",
        _num_places(run),
        size_text(run.payload_bytes),
        format_si(run.time_s, "s") if run.time_s >= 1 else _short(run.time_s),
        _rate(run.algorithm_bytes_per_s),
        _rate(run.bus_bytes_per_s),
        run.algorithm,
        run.bound,
    ]


def compared(runs: Sequence[CollectiveRun]) -> tuple[list[list[str]], tuple[str, ...]]:
    """Rows and headers with the time of every algorithm that runs anywhere among them."""
    names = list(dict.fromkeys(name for run in runs for name in run.times_s))
    rows = [
        [
            f"{run.ranks:,}",
            _num_places(run),
            size_text(run.payload_bytes),
            *(_time_of(run, name) for name in names),
        ]
        for run in runs
    ]
    return rows, ("ranks", _place(runs), "bytes", *names)


def size_text(num_bytes: float) -> str:
    """Bytes as nccl-tests users write them: powers of two in binary units."""
    for unit, factor in _BINARY:
        if num_bytes >= factor and (num_bytes / factor) % 1 == 0:
            return f"{num_bytes / factor:,.0f} {unit}"
    return format_si(num_bytes, "B")


def collective_record(run: CollectiveRun) -> dict[str, object]:
    """A run as data in SI units."""
    return {
        "kind": run.kind,
        "ranks": run.ranks,
        "nodes": run.nodes,
        **({} if run.pods is None else {"pods": run.pods}),
        "payload_bytes": run.payload_bytes,
        "time_s": run.time_s,
        "algorithm_bytes_per_s": run.algorithm_bytes_per_s,
        "bus_bytes_per_s": run.bus_bytes_per_s,
        "algorithm": run.algorithm,
        "bound_by": run.bound,
        "times_s": dict(run.times_s),
    }


def _time_of(run: CollectiveRun, name: str) -> str:
    if name not in run.times_s:
        return "-"
    return _short(run.times_s[name]) + (" *" if name == run.algorithm else "")


def _short(time_s: float) -> str:
    return f"{time_s * 1e3:,.2f} ms" if time_s >= 1e-3 else f"{time_s * 1e6:,.1f} us"


def _rate(bytes_per_s: float) -> str:
    unit, factor = ("GB/s", 1e9) if bytes_per_s >= 1e9 else ("MB/s", 1e6)
    return f"{bytes_per_s / factor:,.1f} {unit}"
