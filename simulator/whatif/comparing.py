"""Plans, models and machines side by side, each difference explained term by term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from simulator.errors import NothingFitsError, SpecError, TrainsimError
from simulator.progress import Progress, followed, silent
from simulator.report.breakdown import gigabytes
from simulator.report.report import Report
from simulator.scenario import Scenario
from simulator.spec.load import ScenarioSource
from simulator.whatif.axes import Axis, combinations
from simulator.whatif.runs import simulate_each
from simulator.whatif.terms import (
    cost_difference,
    memory_difference_bytes,
    time_difference_s,
    tokens_per_step,
)

Reference = Literal["first", "best"]

_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Candidate:
    """One scenario of a comparison and how it differs from the reference.

    Attributes:
        time_s: term -> seconds of a step more than the reference; sums to the difference.
        cost_s: term -> device-seconds per token more.
        memory_bytes: term -> bytes more on the worst rank; sums to the difference of the peaks.
    """

    label: str
    report: Report
    time_s: Mapping[str, float]
    cost_s: Mapping[str, float]
    memory_bytes: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Candidates in the order in which they were given.

    Attributes:
        reference: label of the candidate that the others are compared with; empty if none runs.
        left_out: (label, reason) of those that cannot be run.
    """

    reference: str
    candidates: tuple[Candidate, ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def same_work(self) -> bool:
        """Whether all do the same tokens per step on as many devices: steps compare directly."""
        reports = [candidate.report for candidate in self.candidates]
        return (
            len({report.devices for report in reports}) <= 1
            and len({round(tokens_per_step(report)) for report in reports}) <= 1
        )


def compare(
    sources: Mapping[str, ScenarioSource],
    axes: Sequence[Axis] = (),
    *,
    to: Reference = "first",
    progress: Progress = silent,
) -> Comparison:
    """Simulates scenarios, with every combination of the axes, and explains their differences.

    Args:
        sources: label -> scenario.
        axes: keys to vary in each of them.
        to: what they are compared with: the first that runs, or the best: most tokens per second
            and device among those that fit.
        progress: told how many are prepared, then how many are simulated.

    Raises:
        SpecError: if there is nothing to compare. A scenario that breaks a rule is left out, with
            the reason, unless it is the only one.
        NothingFitsError: if the best is asked for and none fits.
    """
    runs: dict[str, Scenario] = {}
    failed: dict[str, TrainsimError] = {}
    for label, source in followed([*_labelled(sources, axes).items()], "Preparing", progress):
        try:
            runs[label] = source.scenario()
        except TrainsimError as error:
            failed[label] = error
    if not runs:
        raise next(iter(failed.values()), SpecError("there is nothing to compare"))
    reports = dict(zip(runs, simulate_each(list(runs.values()), progress), strict=True))
    reference = next(iter(reports)) if to == "first" else _best(reports)
    base = reports[reference]
    return Comparison(
        reference,
        tuple(
            Candidate(
                label,
                report,
                time_difference_s(report, base),
                cost_difference(report, base),
                memory_difference_bytes(report, base),
            )
            for label, report in reports.items()
        ),
        tuple((label, error.problem) for label, error in failed.items()),
    )


def mfu_note(found: Comparison) -> str:
    """Against which peaks MFU counts, where they differ; else nothing."""
    peaks = {
        candidate.label: candidate.report.model_flops_per_s_per_device / candidate.report.mfu
        for candidate in found.candidates
    }
    if max(peaks.values(), default=0.0) <= min(peaks.values(), default=0.0) * (1 + _ROUNDING):
        return ""
    by_precision: dict[str, set[float]] = {}
    for candidate in found.candidates:
        peak = round(peaks[candidate.label] / 1e12, 1)
        by_precision.setdefault(_precision(candidate.report), set()).add(peak)
    if all(len(values) == 1 for values in by_precision.values()):
        named = {name: max(values) for name, values in by_precision.items()}
    else:
        named = {label: peak / 1e12 for label, peak in peaks.items()}
    words = ", ".join(f"{peak:,.1f} TFLOP/s {name}" for name, peak in named.items())
    return f"MFU counts against the dense peak of each: {words}."


def _precision(report: Report) -> str:
    training = cast("Mapping[str, object]", report.scenario["training"])
    return str(training["precision"])


def labels(names: Sequence[str]) -> list[str]:
    """What scenarios are called: files without folder and ending, repeated ones numbered."""
    stems = [Path(name).stem if name.endswith((".yaml", ".yml")) else name for name in names]
    files: dict[str, set[str]] = {}
    for name, stem in zip(names, stems, strict=True):
        files.setdefault(stem, set()).add(name)
    found: list[str] = []
    for name, stem in zip(names, stems, strict=True):
        label = stem if len(files[stem]) == 1 else name
        again = names[: len(found)].count(name)
        found.append(f"{label} ({again + 1})" if again else label)
    return found


def _labelled(
    sources: Mapping[str, ScenarioSource], axes: Sequence[Axis]
) -> dict[str, ScenarioSource]:
    """Every source with every combination, by a label that tells them apart."""
    found: dict[str, ScenarioSource] = {}
    for name, source in sources.items():
        for combination in combinations(axes):
            parts = (name if len(sources) > 1 else "", combination.label)
            label = " ".join(part for part in parts if part) or name
            found[label] = source.having(*combination.assignments)
    return found


def _best(reports: Mapping[str, Report]) -> str:
    fitting = {label: report for label, report in reports.items() if report.memory.fits}
    if not fitting:
        least = min((report.memory for report in reports.values()), key=lambda m: m.peak_bytes)
        raise NothingFitsError(
            f"none of {len(reports):,} candidates fits: the smallest needs "
            f"{gigabytes(least.peak_bytes)} of {gigabytes(least.capacity_bytes)}",
            where="--to best",
            hint="--to first compares plans that do not fit, too",
        )
    most = max(report.tokens_per_s_per_device for report in fitting.values())
    # Equal plans differ by rounding: the first of them is the best.
    return next(
        n for n, r in fitting.items() if r.tokens_per_s_per_device >= most * (1 - _ROUNDING)
    )
