"""What ``trainsim samples`` prints, and the progress it shows."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict

from rich.console import Console, Group, RenderableType
from rich.progress import Progress
from rich.text import Text

from simulator.montecarlo import Samples
from simulator.units import format_si, percent
from simulator.views import table


def samples_view(name: str, found: Samples) -> RenderableType:
    """Percentiles beside the step without noise."""
    spreads = ", ".join(f"{kind} {value:g}" for kind, value in asdict(found.noise).items() if value)
    times = {
        "without noise": found.noise_free_s,
        "5 %": found.percentile_s(5),
        "50 %": found.percentile_s(50),
        "95 %": found.percentile_s(95),
        "mean": found.mean_s,
    }
    rows = [
        (
            label,
            format_si(time_s, "s", digits=4),
            percent(time_s / found.noise_free_s - 1, signed=True),
            f"{found.tokens_per_step / time_s:,.0f}",
        )
        for label, time_s in times.items()
    ]
    parts: list[RenderableType] = [
        Text(f"{name}   {len(found.step_time_s):,} steps, noise {spreads}, seed {found.seed}"),
        table(rows, ("step time", "", "longer", "tokens/s")),
    ]
    if found.shares_links:
        parts.append(Text("links are shared, which samples leave out: run shows what that costs"))
    return Group(*parts)


@contextmanager
def shown_progress(total: int, on_terminal: bool) -> Generator[Callable[[int], None]]:
    """On a terminal a bar with the samples done and the time left."""
    if not on_terminal:
        yield lambda done: None
        return
    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("samples", total=total)
        yield lambda done: bars.update(task, completed=done)
