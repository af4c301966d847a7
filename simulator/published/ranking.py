"""Does the simulator put the plans of the same work in the right order, and pick a good one?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

Times = tuple[float, float]
"""Measured and predicted time of one run."""

APART: Final = 1.05
"""Pairs that differ by less than this factor are not ordered: runs repeat to a few per cent."""
GOOD_PICK: Final = 0.04


@dataclass(frozen=True, slots=True)
class RankingStatistics:
    """Order and choice inside groups of runs of the same work.

    Attributes:
        pairs: pairs inside a group whose measured times are more than 5 % apart.
        pairs_right: those predicted in the order in which they were measured.
        pairs_tied: those predicted exactly equal; they count as wrong.
        groups: groups of at least two runs.
        mean_regret, worst_regret: of the groups, see ``regret``; None without groups.
        within_4_percent: share of the groups with a regret of at most that.
    """

    pairs: int
    pairs_right: int
    pairs_tied: int
    groups: int
    mean_regret: float | None
    worst_regret: float | None
    within_4_percent: float | None

    @property
    def order_right(self) -> float | None:
        """Share of the pairs predicted in the right order; None without pairs."""
        return self.pairs_right / self.pairs if self.pairs else None


def ranking_statistics(groups: Iterable[Sequence[Times]]) -> RankingStatistics:
    """Statistics over groups of runs of the same work; groups of one run hold nothing to rank."""
    ranked = [group for group in groups if len(group) > 1]
    apart = [pair for group in ranked for pair in _pairs_apart(group)]
    regrets = [regret(group) for group in ranked]
    return RankingStatistics(
        pairs=len(apart),
        pairs_right=sum(faster[1] < slower[1] for faster, slower in apart),
        pairs_tied=sum(faster[1] == slower[1] for faster, slower in apart),
        groups=len(ranked),
        mean_regret=sum(regrets) / len(regrets) if regrets else None,
        worst_regret=max(regrets, default=None),
        within_4_percent=sum(r <= GOOD_PICK for r in regrets) / len(regrets) if regrets else None,
    )


def regret(group: Sequence[Times]) -> float:
    """What the pick costs: measured time of the run predicted fastest / best measured - 1.

    Of several runs predicted equally fast any may be picked, so their mean time counts.
    """
    least = min(predicted for _, predicted in group)
    picked = [measured for measured, predicted in group if predicted == least]
    return sum(picked) / len(picked) / min(measured for measured, _ in group) - 1.0


def _pairs_apart(group: Sequence[Times]) -> list[tuple[Times, Times]]:
    """Pairs that are far enough apart, the one measured faster first."""
    ordered = (sorted(pair) for pair in combinations(group, 2))
    return [(faster, slower) for faster, slower in ordered if slower[0] > APART * faster[0]]
