"""What ``contention`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from simulator.report.breakdown import seconds
from simulator.units import percent
from simulator.views import table
from simulator.whatif.contention import Contention, Shared

_LOSS: Final = 5e-4
"""Share of a step below which it is not said to be lost: half of the last digit shown."""
_SPREAD = {"sprayed": "all, packet by packet", "ecmp": "by hash"}


def contention_view(found: Contention) -> RenderableType:
    """A line per way in which the messages meet, and the fullest link of each."""
    with_classes = any(one.classes_s is not None for one in found.shared)
    dashes = ("-",) if with_classes else ()
    rows = [
        ("alone", "-", seconds(found.alone_s), "-", "-", "-", *dashes),
        ("as 'run' counts", "-", *_against(found.by_number_s, found), "-", "-", *dashes),
        *(_row(one, found) for one in found.shared),
    ]
    headers = ["nodes", "paths", "step time", "vs alone", "fullest link", "if all met"]
    headers += ["with classes"] if with_classes else []
    return Group(
        Text(f"{found.name}   {found.devices:,} devices on {found.links:,} links", "bold"),
        table(rows, headers),
        Text(_verdict(found)),
        *(Text(line) for line in (*_won_back(found), *_at_price(found))),
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
        *(() if one.classes_s is None else (_against(one.classes_s, found)[1],)),
    )


def _against(step_s: float, found: Contention) -> tuple[str, str]:
    # Rounding of sums is no loss, nor a gain.
    return seconds(step_s), percent(round(step_s / found.alone_s - 1, 9) + 0.0, signed=True)


def _verdict(found: Contention) -> str:
    worst = max(found.shared, key=lambda one: one.step_s)
    longer = worst.step_s / found.alone_s - 1
    if longer < _LOSS:
        return "Its messages do not slow one another: the network is wide enough for this job."
    how = "hashed to single paths" if worst.spreading == "ecmp" else "spread over all paths"
    return (
        f"At worst a step is {percent(longer)} longer, with nodes {worst.placing} and messages "
        f"{how}.\n"
        "'if all met': what all messages at once would ask of the fullest link; many never meet."
    )


def _won_back(found: Contention) -> tuple[str, ...]:
    """What classes of traffic give back, if that was asked for and anything is lost."""
    shares = [
        (one.step_s - one.classes_s) / (one.step_s - found.alone_s)
        for one in found.shared
        if one.classes_s is not None and one.step_s > (1 + _LOSS) * found.alone_s
    ]
    if not shares:
        return ()
    won = [max(share, 0.0) for share in shares if share > -_LOSS]
    lost = [-share for share in shares if share <= -_LOSS]
    does = [f"win back {_range(won)} of what is lost"] if won else []
    does += [f"lose another {_range(lost)} of {'it' if won else 'what is lost'}"] if lost else []
    return (f"Switches that serve first what passes wait for {', or '.join(does)}.",)


def _range(shares: Sequence[float]) -> str:
    least, most = percent(min(shares)), percent(max(shares))
    return least if least == most else f"{least} to {most}"


def _at_price(found: Contention) -> tuple[str, ...]:
    """What is not followed link by link."""
    return (f"Not followed on links: {', '.join(found.at_price)}.",) if found.at_price else ()


def contention_record(found: Contention) -> dict[str, object]:
    """The same as data."""
    return asdict(found)
