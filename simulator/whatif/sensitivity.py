"""What a better or a worse machine would bring: one lever at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from simulator.auto_fit import fit_batch
from simulator.errors import SpecError, TrainsimError, UnknownNameError
from simulator.progress import Progress, followed, silent
from simulator.report.report import Report
from simulator.scenario import Scenario
from simulator.spec.load import ScenarioSource
from simulator.spec.overrides import Override
from simulator.whatif.axes import Axis, shown
from simulator.whatif.hardware import HARDWARE, levers_of
from simulator.whatif.runs import simulate_each
from simulator.whatif.terms import cost_difference, efficiency

DEFAULT_FACTORS: Final = (0.5, 2.0)
"""Half and twice of every quantity."""
MIN_FACTOR: Final = 1e-3
MAX_FACTOR: Final = 1e3
"""Machines beyond a thousandth or a thousand times of today's are typing errors."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One setting of one lever.

    Attributes:
        setting: ``x2``, or a value of a key.
        speed_change: tokens per second and device over those of the base - 1.
        headroom_bytes: memory capacity less the peak of the worst rank; negative if it lacks.
        cost_s: term -> device-seconds per token more than in the base.
    """

    setting: str
    report: Report
    speed_change: float
    headroom_bytes: float
    cost_s: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Bar:
    """A lever with its settings.

    Attributes:
        name: of a row of ``HARDWARE``, or the key that was varied.
        what: in words.
    """

    name: str
    what: str
    effects: tuple[Effect, ...]

    @property
    def reach(self) -> float:
        """From the slowest to the fastest of its settings and the base, as a share of the base."""
        changes = [0.0, *(effect.speed_change for effect in self.effects)]
        return max(changes) - min(changes)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """All levers, the one with the largest reach first.

    Attributes:
        left_out: (lever or key, setting, reason) of settings that cannot be run.
    """

    base: Report
    bars: tuple[Bar, ...]
    left_out: tuple[tuple[str, str, str], ...]


def sensitivity(
    source: ScenarioSource,
    axes: Sequence[Axis] = (),
    *,
    factors: Sequence[float] = DEFAULT_FACTORS,
    levers: Sequence[str] | None = None,
    progress: Progress = silent,
) -> Sensitivity:
    """Changes one quantity at a time and simulates the step.

    Args:
        source: of the base scenario.
        axes: keys of the scenario to set to other values, beside the levers.
        factors: on every lever.
        levers: names of ``HARDWARE``; None for all that can move the scenario.
        progress: told how many settings are prepared, then how many are simulated.

    Raises:
        SpecError: if a factor is out of range, or a lever is not known.
        TrainsimError: if the scenario is wrong. A setting that breaks a rule, or in which no
            microbatch fits that is to be fitted, is left out with the reason.
    """
    _checked(() if levers is None else levers, factors)
    base = source.scenario()
    names = levers_of(base) if levers is None else tuple(levers)
    settings: list[tuple[str, str, Scenario]] = []
    left_out: list[tuple[str, str, str]] = []
    for name, factor in followed([*product(names, factors)], "Preparing", progress):
        try:
            pulled = fit_batch(HARDWARE[name].pull(base, factor))
            settings.append((name, f"x{factor:g}", pulled))
        except TrainsimError as error:
            left_out.append((name, f"x{factor:g}", error.problem))
    for axis in axes:
        for value, found in _variants(source, axis):
            if isinstance(found, Scenario):
                settings.append((axis.path, value, found))
            else:
                left_out.append((axis.path, value, found))
    reports = simulate_each([base, *(scenario for _, _, scenario in settings)], progress)
    names_and_settings = [(name, setting) for name, setting, _ in settings]
    bars = _bars(names_and_settings, reports[1:], reports[0])
    return Sensitivity(reports[0], bars, tuple(left_out))


def _bars(
    settings: Sequence[tuple[str, str]], reports: Sequence[Report], base: Report
) -> tuple[Bar, ...]:
    """Levers by reach; among equals in the order of the table."""
    effects: dict[str, list[Effect]] = {}
    for (name, setting), report in zip(settings, reports, strict=True):
        effects.setdefault(name, []).append(_effect(setting, report, base))
    bars = [
        Bar(name, HARDWARE[name].what if name in HARDWARE else name, tuple(found))
        for name, found in effects.items()
    ]
    return tuple(sorted(bars, key=lambda bar: -bar.reach))


def _checked(levers: Sequence[str] | Mapping[str, object], factors: Sequence[float]) -> list[str]:
    for name in levers:
        if name not in HARDWARE:
            raise UnknownNameError.of("lever", name, HARDWARE, where="--lever")
    for factor in factors:
        if not MIN_FACTOR <= factor <= MAX_FACTOR:
            raise SpecError(
                f"factor {factor:g} is not between {MIN_FACTOR:g} and {MAX_FACTOR:g}",
                where="--factor",
                hint="0.5 halves a quantity, 2 doubles it",
            )
    return list(dict.fromkeys(levers))


def _variants(source: ScenarioSource, axis: Axis) -> list[tuple[str, Scenario | str]]:
    found: list[tuple[str, Scenario | str]] = []
    for value in axis.values:
        try:
            found.append((shown(value), source.having(Override(axis.path, value)).scenario()))
        except TrainsimError as error:
            found.append((shown(value), error.problem))
    return found


def _effect(setting: str, report: Report, base: Report) -> Effect:
    return Effect(
        setting=setting,
        report=report,
        speed_change=efficiency(report, base) - 1.0,
        headroom_bytes=report.memory.capacity_bytes - report.memory.peak_bytes,
        cost_s=cost_difference(report, base),
    )
