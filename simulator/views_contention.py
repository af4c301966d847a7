"""What ``contention`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Group, RenderableType
from rich.text import Text

from simulator.report.breakdown import seconds
from simulator.units import percent
from simulator.views import table
from simulator.whatif.contention import Contention, Shared

_SPREAD = {"sprayed": "all, packet by packet", "ecmp": "by hash"}


def contention_view(found: Contention) -> RenderableType:
    """A line per way in which the messages meet, and the fullest link of each."""
    rows = [
        ("alone", "-", seconds(found.alone_s), "-", "-", "-"),
        ("as 'run' counts", "-", *_against(found.by_number_s, found), "-", "-"),
        *(_row(one, found) for one in found.shared),
    ]
    headers = ("nodes", "paths", "step time", "vs alone", "fullest link", "if all met")
    return Group(
        Text(f"{found.name}   {found.devices:,} devices on {found.links:,} links", "bold"),
        table(rows, headers),
        Text(_verdict(found)),
    )


def _row(one: Shared, found: Contention) -> Sequence[str]:
    seed = f", seed {one.seed}" if one.spreading == "ecmp" or one.placing == "shuffled" else ""
    asked = f"{one.asked:.1f} x" if one.fullest else "-"
    return (
        one.placing,
        _SPREAD[one.spreading] + seed,
        *_against(one.step_s, found),
        one.fullest or "none can fill",
        asked,
    )


def _against(step_s: float, found: Contention) -> tuple[str, str]:
    return seconds(step_s), percent(step_s / found.alone_s - 1, signed=True)


def _verdict(found: Contention) -> str:
    worst = max(found.shared, key=lambda one: one.step_s)
    longer = worst.step_s / found.alone_s - 1
    if longer < 5e-4:
        return "Its messages do not slow one another: the network is wide enough for this job."
    how = "hashed to single paths" if worst.spreading == "ecmp" else "spread over all paths"
    return (
        f"At worst a step is {percent(longer)} longer, with nodes {worst.placing} and messages "
        f"{how}.\n"
        "'if all met': what all messages at once would ask of the fullest link; many never meet."
    )


def contention_record(found: Contention) -> dict[str, object]:
    """The same as data."""
    return asdict(found)
