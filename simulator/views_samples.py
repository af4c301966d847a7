"""What ``trainsim samples`` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from simulator.montecarlo import Samples
from simulator.units import format_si, percent
from simulator.views import table

STEP_HEADERS: Final = ("step time", "", "longer", "tokens/s")


def samples_view(name: str, found: Samples) -> RenderableType:
    """Percentiles beside the step without noise."""
    parts: list[RenderableType] = [
        Text(f"{name}   {noise_line(found)}"),
        table(step_rows(found), STEP_HEADERS),
    ]
    if found.shares_links:
        parts.append(Text("links are shared, which samples leave out: run shows what that costs"))
    return Group(*parts)


def noise_line(found: Samples) -> str:
    """What was drawn."""
    spreads = ", ".join(f"{kind} {value:g}" for kind, value in asdict(found.noise).items() if value)
    return f"{len(found.step_time_s):,} steps, noise {spreads}, seed {found.seed}"


def step_rows(found: Samples) -> list[tuple[str, ...]]:
    """Percentiles and mean beside the step without noise."""
    times = {
        "without noise": found.noise_free_s,
        "5 %": found.percentile_s(5),
        "50 %": found.percentile_s(50),
        "95 %": found.percentile_s(95),
        "mean": found.mean_s,
    }
    return [
        (
            label,
            format_si(time_s, "s", digits=4),
            percent(time_s / found.noise_free_s - 1, signed=True),
            f"{found.tokens_per_step / time_s:,.0f}",
        )
        for label, time_s in times.items()
    ]
