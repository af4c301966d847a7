"""Does a search over the plans that were measured find the best of them?

Every group of runs of the same work is searched as a user would: its plans are the candidates, the
search leaves out what does not fit, and the plan it calls the fastest is looked up in what was
measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from simulator.errors import PlanError
from simulator.published.facts import Facts, Work, by_work, facts_of
from simulator.published.mapping import Case, Skipped, map_row
from simulator.published.ranking import GOOD_PICK, Times, regret
from simulator.published.rows import PublishedRow, read_rows
from simulator.published.targets import SWEEPS
from simulator.published.validate import published_paths
from simulator.scenario import Scenario
from simulator.search.chosen import chosen_candidates
from simulator.search.optimum import Goal, search_among

OUT_OF_MEMORY: Final = math.inf
"""Step time of a plan that did not run."""
_FAILED: Final = "oom"
"""Table of plans of the sweeps that ran out of memory."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One configuration that was tried.

    Attributes:
        row_ids: rows that repeat it.
        measured_s: mean measured step time; infinite if it ran out of memory.
        found_s: step time in the search; infinite if the search leaves it out.
        left_out: why the search has no form for it; empty if it has.
    """

    row_ids: tuple[str, ...]
    scenario: Scenario
    measured_s: float
    found_s: float = math.inf
    left_out: str = ""

    @property
    def ran(self) -> bool:
        """Whether it was measured."""
        return self.measured_s < OUT_OF_MEMORY

    @property
    def fits(self) -> bool | None:
        """Whether the search says that it fits; None if it cannot say."""
        return None if self.left_out else self.found_s < math.inf


@dataclass(frozen=True, slots=True)
class SearchPick:
    """What a search found among the runs of the same work.

    Attributes:
        tried: configurations, those that ran out of memory included.
        searches: one for every software, precision or variant of the model among them; the best
            plan is that of the best search.
        simulated: the times compared with are the output of another simulator.
    """

    source: str
    work: Work
    tried: tuple[Tried, ...]
    searches: int
    simulated: bool

    @property
    def found(self) -> Tried | None:
        """The plan found, the first of several equally fast ones; None if none fits."""
        found = min(self.tried, key=lambda one: one.found_s)
        return found if found.fits else None

    @property
    def best(self) -> Tried:
        """The plan measured fastest, whether the search has a form for it or not."""
        return min(self.tried, key=lambda one: one.measured_s)

    @property
    def regret(self) -> float:
        """Measured time of the plan found / best measured - 1; infinite if it does not run."""
        times: list[Times] = [(one.measured_s, one.found_s) for one in self.tried]
        return math.inf if self.found is None else regret(times)

    @property
    def plans(self) -> int:
        """Configurations that ran and that the search has a form for."""
        return sum(one.ran and not one.left_out for one in self.tried)

    def among_those_that_ran(self) -> SearchPick:
        """The same without the plans that ran out of memory; no plan's time depends on others."""
        return replace(self, tried=tuple(one for one in self.tried if one.ran))


@dataclass(frozen=True, slots=True)
class PickStatistics:
    """Over groups of runs of the same work.

    Attributes:
        groups: all of them.
        within_4_percent: share whose plan found is at most that slower than the best measured.
        mean_regret, worst_regret: of the groups in which the plan found runs.
        none_runs: groups in which the search found none, or one that ran out of memory.
    """

    groups: int
    within_4_percent: float
    mean_regret: float | None
    worst_regret: float | None
    none_runs: int


def pick_statistics(picks: Sequence[SearchPick]) -> PickStatistics:
    """Statistics of at least one group."""
    regrets = [pick.regret for pick in picks]
    finite = [one for one in regrets if one < math.inf]
    return PickStatistics(
        groups=len(picks),
        within_4_percent=sum(one <= GOOD_PICK for one in regrets) / len(regrets),
        mean_regret=sum(finite) / len(finite) if finite else None,
        worst_regret=max(finite, default=None),
        none_runs=len(regrets) - len(finite),
    )


def sweep_picks(sources: Sequence[str] = SWEEPS) -> tuple[SearchPick, ...]:
    """Searches the groups of some shipped tables, with the plans that ran out of memory."""
    rows = [row for path in _paths(*sources, _FAILED) for row in read_rows(path)]
    return search_picks(rows)


def _paths(*sources: str) -> list[Path]:
    return [path for path in published_paths() if path.stem in sources]


def search_picks(rows: Iterable[PublishedRow]) -> tuple[SearchPick, ...]:
    """Searches every group of at least two configurations of the same work that ran.

    Only rows marked test count. Rows of any table that ran out of memory join the group of their
    work: a search that finds one of them has found a plan that does not run.
    """
    cases = [case for row in rows if row.role == "test" for case in _case(row)]
    known = [(case, _facts(case)) for case in cases]
    failed: dict[Work, list[Case]] = {}
    for case, facts in known:
        if case.fits is False and case.step_time_s is None:
            failed.setdefault(facts.work, []).append(case)
    timed = [(c.row.source, facts, c) for c, facts in known if c.step_time_s is not None]
    return tuple(
        _picked(source, work, list(group.values()), failed.get(work, []))
        for (source, work), group in by_work(timed).items()
        if len(group) > 1
    )


def _case(row: PublishedRow) -> Iterable[Case]:
    case = map_row(row)
    return () if isinstance(case, Skipped) else (case,)


def _facts(case: Case) -> Facts:
    row = case.row
    return facts_of(case.scenario, row.text("repeat_of") or row.row_id, row.text("conditions"))


def _picked(
    source: str, work: Work, runs: Sequence[Sequence[Case]], failed: Sequence[Case]
) -> SearchPick:
    tried = [
        Tried(
            tuple(case.row.row_id for case in repeats),
            repeats[0].scenario,
            sum(case.step_time_s or 0.0 for case in repeats) / len(repeats),
        )
        for repeats in runs
    ]
    tried += [Tried((case.row.row_id,), case.scenario, OUT_OF_MEMORY) for case in failed]
    searched, searches = _searched(tried)
    simulated = any(
        case.row.lower("step_time_origin") == "predicted" for repeats in runs for case in repeats
    )
    return SearchPick(source, work, searched, searches, simulated)


def _searched(tried: Sequence[Tried]) -> tuple[tuple[Tried, ...], int]:
    """What the search says of every plan, and how many searches that took."""
    searches: list[list[Tried]] = []
    done: list[Tried] = []
    for one in tried:
        reason = _joins(searches, one)
        if reason:
            done.append(replace(one, left_out=reason))
    for together in searches:
        done += _timed(together)
    order = {one.row_ids: place for place, one in enumerate(tried)}
    return tuple(sorted(done, key=lambda one: order[one.row_ids])), len(searches)


def _joins(searches: list[list[Tried]], one: Tried) -> str:
    """Adds a plan to the first search that has a form for it, or to one of its own.

    Returns:
        Why no search has; empty if one has.
    """
    for together in searches:
        if not _problem(together[0].scenario, one.scenario):
            together.append(one)
            return ""
    reason = _problem(one.scenario, one.scenario)
    if not reason:
        searches.append([one])
    return reason


def _problem(base: Scenario, scenario: Scenario) -> str:
    try:
        chosen_candidates(base, [scenario])
    except PlanError as error:
        return error.problem
    return ""


def _timed(together: Sequence[Tried]) -> list[Tried]:
    """The plans of one search with the step times that it proves; all of them, for ties."""
    base = together[0].scenario
    candidates = chosen_candidates(base, [one.scenario for one in together])
    try:
        found = search_among(base, candidates, Goal(top=len(together))).best
    except PlanError:
        found = ()
    seconds = {plan.row: plan.step_time_s for plan in found}
    return [replace(one, found_s=seconds.get(row, math.inf)) for row, one in enumerate(together)]
