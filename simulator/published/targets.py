"""What accuracy the project wants, set by set: missed bars are shown as missed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from simulator.published.coverage import range_statistics
from simulator.published.metrics import ErrorStatistics, error_statistics
from simulator.published.ranking import RankingStatistics, ranking_statistics
from simulator.published.results import RowResult, fits_predicted, ranged, same_work

Reached = tuple[float | None, int]
"""A value, and over how many rows, pairs or groups; None over none."""
Metric = Callable[[Sequence[RowResult]], Reached]
"""Of rows that are all marked test."""


def mean_error(rows: Sequence[RowResult]) -> Reached:
    """Mean absolute error of the step time."""
    errors = _errors(rows)
    return errors.mape, errors.compared


def worst_error(rows: Sequence[RowResult]) -> Reached:
    """Largest absolute error of the step time."""
    errors = _errors(rows)
    return errors.worst, errors.compared


def error_90(rows: Sequence[RowResult]) -> Reached:
    """Absolute error of the step time that nine rows of ten do not exceed."""
    errors = _errors(rows)
    return errors.p90, errors.compared


def bias_size(rows: Sequence[RowResult]) -> Reached:
    """Mean error of the step time without its sign."""
    errors = _errors(rows)
    return (None if errors.bias is None else abs(errors.bias)), errors.compared


def _errors(rows: Sequence[RowResult]) -> ErrorStatistics:
    return error_statistics([row.error for row in rows if row.error is not None])


def speed_up_error(rows: Sequence[RowResult]) -> Reached:
    """Relative error of the speed-up from the slowest to the fastest run on most devices."""
    timed = [row for row in rows if row.error is not None and row.facts is not None]
    if not timed:
        return None, 0
    most = max(_devices(row) for row in timed)
    times = [
        (row.measured_step_time_s or 0.0, row.predicted_step_time_s or 0.0)
        for row in timed
        if _devices(row) == most
    ]
    slow, fast = max(times), min(times)
    return abs((slow[1] / fast[1]) / (slow[0] / fast[0]) - 1), len(times)


def _devices(row: RowResult) -> int:
    return row.facts.work.num_devices if row.facts else 0


def in_range(rows: Sequence[RowResult]) -> Reached:
    """Share of measurements within the 90 % range of their prediction."""
    ranges = range_statistics(ranged(rows))
    return (ranges.inside, ranges.count) if ranges else (None, 0)


def mean_rate_error(rows: Sequence[RowResult]) -> Reached:
    """Mean absolute error of the rate, which is measured / predicted time - 1."""
    rates = [1 / (1 + row.error) - 1 for row in rows if row.error is not None]
    return error_statistics(rates).mape, len(rates)


def mean_memory_error(rows: Sequence[RowResult]) -> Reached:
    """Mean absolute error of the peak memory."""
    memory = error_statistics([r.memory_error for r in rows if r.memory_error is not None])
    return memory.mape, memory.compared


def order_right(rows: Sequence[RowResult]) -> Reached:
    """Share of pairs of the same work in the right order."""
    ranking = _ranking(rows)
    return ranking.order_right, ranking.pairs


def mean_regret(rows: Sequence[RowResult]) -> Reached:
    """Mean cost of the pick among runs of the same work."""
    ranking = _ranking(rows)
    return ranking.mean_regret, ranking.groups


def good_picks(rows: Sequence[RowResult]) -> Reached:
    """Share of groups whose pick is within 4 % of the best."""
    ranking = _ranking(rows)
    return ranking.within_4_percent, ranking.groups


def _ranking(rows: Sequence[RowResult]) -> RankingStatistics:
    return ranking_statistics(same_work(rows).values())


def ran_fits(rows: Sequence[RowResult]) -> Reached:
    """Share of rows that ran which are predicted to fit."""
    return _share_right(rows, fits=True)


def failed_does_not_fit(rows: Sequence[RowResult]) -> Reached:
    """Share of rows out of memory which are predicted not to fit."""
    return _share_right(rows, fits=False)


def _share_right(rows: Sequence[RowResult], *, fits: bool) -> Reached:
    known = fits_predicted(rows, fits=fits)
    return (known.count(fits) / len(known) if known else None), len(known)


@dataclass(frozen=True, slots=True)
class Target:
    """One bar.

    Attributes:
        sources: files that the rows are from; none for all of them.
        bar: worst value that is good enough; None where none was set.
        at_least: whether the value must be at least the bar instead of at most.
        each: the bar is for every source alone.
        tier: of the rows; empty for all.
        measured: without rows whose time is the output of another simulator.
    """

    name: str
    metric: Metric
    bar: float | None
    sources: tuple[str, ...] = ()
    at_least: bool = False
    each: bool = False
    tier: str = ""
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A bar and what was reached.

    Attributes:
        count: rows, pairs or groups of test rows that it was taken over.
        reached: None where nothing could be compared.
        holds: None where nothing was reached, or no bar was set.
    """

    name: str
    count: int
    bar: float | None
    at_least: bool
    reached: float | None
    holds: bool | None


SWEEPS: Final = ("vtrain1", "vtrain", "hage", "bloomA100", "zb")
"""Tables of many layouts of the same work."""
_REPOSITORIES: Final = "repo-*"
"""Stands for every source whose name begins so."""
_SMALL: Final = ("sc21t1", "kort")


def _also_measured(target: Target) -> tuple[Target, Target]:
    """A bar twice: over all rows, and over those that were measured."""
    return target, replace(target, name=f"{target.name}; measured runs only", measured=True)


TARGETS: Final = (
    Target("Megatron-LM table 1, Korthikanti table 5", mean_error, 0.04, _SMALL),
    Target("the worst of these", worst_error, 0.09, _SMALL),
    Target("MegaScale table 2", mean_error, 0.06, ("megascale",)),
    Target("its speed-up of 1.34 at 12,288 GPUs", speed_up_error, 0.05 / 1.34, ("megascale",)),
    Target("Frontier, rate per GCD", mean_rate_error, 0.08, ("frontier",)),
    *_also_measured(Target("large sweeps together", mean_error, 0.06, SWEEPS)),
    Target("large sweep", mean_error, 0.07, SWEEPS, each=True),
    *_also_measured(Target("large sweeps together, 90 % of rows", error_90, 0.14, SWEEPS)),
    Target("large sweep, bias", bias_size, 0.02, SWEEPS, each=True),
    *_also_measured(
        Target("order of plans in the sweeps", order_right, 0.93, SWEEPS, at_least=True)
    ),
    *_also_measured(Target("mean regret of the pick in the sweeps", mean_regret, 0.015, SWEEPS)),
    *_also_measured(
        Target("pick within 4 % of the best in the sweeps", good_picks, 0.90, SWEEPS, at_least=True)
    ),
    Target("order of plans, all sources", order_right, None, at_least=True),
    Target("mean regret of the pick, all sources", mean_regret, None),
    Target("pick within 4 % of the best, all sources", good_picks, None, at_least=True),
    Target("repository, tier A", mean_error, 0.10, (_REPOSITORIES,), each=True, tier="A"),
    Target("peak memory", mean_memory_error, 0.05),
    *_also_measured(Target("ran, and predicted to fit", ran_fits, 0.98, at_least=True)),
    Target("out of memory, and predicted so", failed_does_not_fit, 0.92, at_least=True),
    Target("measured within the 90 % range", in_range, 0.85, at_least=True),
    Target("no more than that", in_range, 0.95),
)

LEFT_OUT_TARGETS: Final = (
    *_also_measured(Target("all, each source without its own calibration", mean_error, 0.12)),
)


def outcomes(rows: Sequence[RowResult], targets: Sequence[Target] = TARGETS) -> tuple[Outcome, ...]:
    """What was reached of every bar; sources that are not among the rows are left out."""
    found: list[Outcome] = []
    for target in targets:
        chosen = [row for row in rows if _belongs(row, target)]
        if not target.each:
            found += [_outcome(target, target.name, chosen)] if chosen else []
            continue
        for source in dict.fromkeys(row.source for row in chosen):
            own = [row for row in chosen if row.source == source]
            found.append(_outcome(target, f"{target.name}: {source}", own))
    return tuple(found)


def _belongs(row: RowResult, target: Target) -> bool:
    if row.role != "test" or (target.tier and row.tier != target.tier):
        return False
    if target.measured and row.simulated:
        return False
    repository = _REPOSITORIES in target.sources and row.source.startswith(_REPOSITORIES[:-1])
    return not target.sources or row.source in target.sources or repository


def _outcome(target: Target, name: str, rows: Sequence[RowResult]) -> Outcome:
    reached, number = target.metric(rows)
    holds = None
    if reached is not None and target.bar is not None:
        holds = reached >= target.bar if target.at_least else reached <= target.bar
    return Outcome(name, number, target.bar, target.at_least, reached, holds)
