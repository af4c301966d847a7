"""The pattern of steps of a report: as JSON and back, and as rows for people."""

from __future__ import annotations

from itertools import accumulate
from typing import Final

from simulator.report.breakdown import gigabytes, seconds
from simulator.report.fields import Fields
from simulator.report.report import StepPattern
from simulator.units import percent


def pattern_data(pattern: StepPattern) -> dict[str, object]:
    """As JSON data."""
    return {
        "policy": pattern.policy,
        "workers": pattern.workers,
        "steps": [{"number": number, "step_time_s": each} for number, each in pattern.steps],
        "inner_step_s": pattern.inner_step_s,
        "exposed_s": pattern.exposed_s,
        "kernels_s": pattern.kernels_s,
        "sent_bytes": pattern.sent_bytes,
        "warm_up_share": pattern.warm_up_share,
        "warm_up_step_s": pattern.warm_up_step_s,
    }


def read_pattern(data: Fields) -> StepPattern:
    """What ``pattern_data`` wrote."""
    return StepPattern(
        policy=data.text("policy"),
        workers=data.integer("workers"),
        steps=tuple(
            (run.integer("number"), run.number("step_time_s")) for run in data.children("steps")
        ),
        inner_step_s=data.number("inner_step_s"),
        exposed_s=data.number("exposed_s"),
        kernels_s=data.number("kernels_s"),
        sent_bytes=data.number("sent_bytes"),
        warm_up_share=data.number("warm_up_share"),
        warm_up_step_s=data.number("warm_up_step_s"),
    )


_MAX_RUNS: Final = 6
"""Runs of equal steps that are listed by place; of more, kinds of steps are."""


def pattern_rows(pattern: StepPattern) -> list[tuple[str, str, str]]:
    """(what, value, note) of everything in a pattern."""
    period = sum(number for number, _ in pattern.steps)
    rows = [("policy", pattern.policy, f"{pattern.workers} workers, period of {period} steps")]
    if pattern.warm_up_share:
        share = percent(pattern.warm_up_share)
        rows.append(("warm-up", seconds(pattern.warm_up_step_s), f"{share} of the steps, in full"))
    return [
        *rows,
        *_step_rows(pattern),
        ("a worker by itself", seconds(pattern.inner_step_s), "per step"),
        ("exposed exchange", seconds(pattern.exposed_s), "per step on average"),
        ("kernels around it", seconds(pattern.kernels_s), "per step on average"),
        ("sent", gigabytes(pattern.sent_bytes), "from a node or site, per step on average"),
    ]


def _step_rows(pattern: StepPattern) -> list[tuple[str, str, str]]:
    """Runs of steps that take equally long, as far as shown digits tell; kinds if they are many."""
    runs: list[tuple[int, str]] = []
    for number, each in pattern.steps:
        shown = seconds(each)
        before = runs.pop() if runs and runs[-1][1] == shown else (0, shown)
        runs.append((before[0] + number, shown))
    if len(runs) > _MAX_RUNS:
        kinds: dict[str, int] = {}
        for number, shown in runs:
            kinds[shown] = kinds.get(shown, 0) + number
        by_number = sorted(kinds.items(), key=lambda kind: -kind[1])
        return [(f"{number} steps of a period", shown, "") for shown, number in by_number]
    ends = accumulate(number for number, _ in runs)
    return [
        (f"step {end}" if number == 1 else f"steps {end - number + 1} to {end}", shown, "")
        for end, (number, shown) in zip(ends, runs, strict=True)
    ]
