"""What a search of the whole space claims beyond the best plan that was measured.

Nobody measured what it claims: a large claim is either an insight or an error of the simulator, and
wants a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulator.numeric import BoolArray
from simulator.published.picks import SearchPick
from simulator.scenario import Scenario
from simulator.search.enumeration import enumerate_candidates
from simulator.search.optimum import Goal, search_among, simulated_step_s
from simulator.search.space import (
    DEFAULT_SCHEDULES,
    RECOMPUTE_MODES,
    SCHEDULE_NAMES,
    SHARDING_NAMES,
    Candidates,
    Space,
)


@dataclass(frozen=True, slots=True)
class ClaimedPlan:
    """A plan that a search calls the best, with the step time that it proves."""

    scenario: Scenario
    step_time_s: float


@dataclass(frozen=True, slots=True)
class Claim:
    """What a search finds beside the best plan measured.

    Attributes:
        best_s: step time predicted for the plan measured fastest.
        same_features: the best plan with no schedule, sharding, recomputation or sequence
            parallelism that no plan of the sweep had; any degrees and microbatch.
        whole: the best plan of the whole space.
    """

    pick: SearchPick
    best_s: float
    same_features: ClaimedPlan
    whole: ClaimedPlan

    def gain(self, found: ClaimedPlan) -> float:
        """Speed predicted over that predicted of the best plan measured, - 1."""
        return self.best_s / found.step_time_s - 1.0


def claim(pick: SearchPick) -> Claim:
    """Searches all plans on the devices of a group; what overlaps is as in its best plan.

    Raises:
        PlanError: if no plan fits.
    """
    base = pick.best.scenario
    measured = [one.scenario for one in pick.tried if one.ran]
    names = dict.fromkeys([*DEFAULT_SCHEDULES, *(one.plan.schedule for one in measured)])
    space = Space(base.plan.num_devices, schedules=tuple(names), overlaps=False)
    whole = enumerate_candidates(base, space).candidates
    tried = whole.take(np.flatnonzero(has_features_of(whole, measured)))
    return Claim(
        pick=pick,
        best_s=simulated_step_s(base),
        same_features=_best(base, tried),
        whole=_best(base, whole),
    )


def _best(base: Scenario, candidates: Candidates) -> ClaimedPlan:
    result = search_among(base, candidates, Goal(top=1))
    return ClaimedPlan(result.scenarios[0], result.best[0].step_time_s)


def has_features_of(candidates: Candidates, measured: Sequence[Scenario]) -> BoolArray:
    """Whether each feature of a candidate is one that a measured plan has. [candidates].

    A feature that a candidate's degrees leave without effect is no feature of it.
    """
    plans = [one.plan for one in measured]
    modes = [RECOMPUTE_MODES.index(one.training.recompute.mode) for one in measured]
    schedules = [SCHEDULE_NAMES.index(plan.schedule) for plan in plans if plan.pp > 1]
    shardings = [SHARDING_NAMES.index(plan.sharding.name) for plan in plans if plan.dp > 1]
    sequence = [plan.sequence_parallel for plan in plans if plan.tp > 1]
    return (
        np.isin(candidates.recompute, modes)
        & (np.isin(candidates.schedule, schedules) | (candidates.pp == 1))
        & (np.isin(candidates.sharding, shardings) | (candidates.dp == 1))
        & (np.isin(candidates.sequence_parallel, sequence) | (candidates.tp == 1))
    )
