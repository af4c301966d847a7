"""What a schedule gains over another: published ratios of throughput against predicted ones.

A ratio is taken between runs of one model on the same devices with the same microbatches, so
that an error of the kernels' speed cancels and what is left is the schedule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import pytest

from simulator.published.mapping import Case, map_row
from simulator.published.rows import read_rows
from simulator.published.validate import published_paths
from simulator.simulate import simulate

BASES = ("1F1B", "1F1B-I")
TOLERANCE = 0.05
"""Points of the ratio. The authors search their schedules, ours are laid out by hand."""

MISSED = {
    "zb-025:ZB-2p/zb-034:1F1B-I": -0.0506,
    "zb-037:ZB-2p/zb-046:1F1B-I": -0.0515,
    "zb-050:ZB-V/zb-059:1F1B": -0.0504,
}
"""Pairs whose ratio is further off, and by how much: the baselines on 8 and 16 devices are
predicted 4 to 5 % too fast since the vocabulary is 32,000 (``findings.yaml``, zb)."""


@dataclass(frozen=True)
class Pair:
    """Two runs that differ in their schedule only."""

    zero_bubble: Case
    base: Case

    @property
    def name(self) -> str:
        ends = (self.zero_bubble, self.base)
        return "/".join(f"{case.row.row_id}:{case.row.text('pp_schedule')}" for case in ends)


def key(case: Case) -> tuple[str, ...]:
    columns = ("model", "n_gpus", "micro_batch", "global_batch")
    return tuple(case.row.text(column) for column in columns)


def pairs() -> Iterator[Pair]:
    (path,) = [path for path in published_paths() if path.stem == "zb"]
    mapped = [map_row(row) for row in read_rows(path)]
    cases = [case for case in mapped if isinstance(case, Case)]
    for base in cases:
        if base.row.text("pp_schedule") in BASES:
            for case in cases:
                if key(case) == key(base) and case.row.text("pp_schedule") not in BASES:
                    yield Pair(case, base)


PAIRS = tuple(pairs())


@lru_cache
def predicted_s(row_id: str) -> float:
    (case,) = {
        case.row.row_id: case
        for pair in PAIRS
        for case in (pair.zero_bubble, pair.base)
        if case.row.row_id == row_id
    }.values()
    return simulate(case.scenario).step_time_s


def points_off(pair: Pair) -> float:
    """Predicted ratio of the step times minus the measured one."""
    measured = pair.base.step_time_s / pair.zero_bubble.step_time_s
    new, old = pair.zero_bubble.row.row_id, pair.base.row.row_id
    return predicted_s(old) / predicted_s(new) - measured


def test_the_table_has_pairs_of_every_schedule() -> None:
    schedules = {pair.zero_bubble.row.text("pp_schedule") for pair in PAIRS}
    assert schedules == {"ZB-1p", "ZB-2p", "ZB-V"}
    assert {pair.base.row.text("pp_schedule") for pair in PAIRS} == set(BASES)
    assert len(PAIRS) > 20


@pytest.mark.published
@pytest.mark.parametrize(
    "pair", [pair for pair in PAIRS if pair.name not in MISSED], ids=lambda pair: pair.name
)
def test_zero_bubble_gains_what_it_gained(pair: Pair) -> None:
    assert abs(points_off(pair)) <= TOLERANCE


@pytest.mark.published
def test_known_misses_are_where_they_were() -> None:
    """One that comes right, or gets worse, shows here."""
    found = {pair.name: points_off(pair) for pair in PAIRS if pair.name in MISSED}
    assert found == pytest.approx(MISSED, abs=0.005)


@pytest.mark.published
@pytest.mark.parametrize(
    "pair",
    [pair for pair in PAIRS if pair.base.row.text("pp_schedule") == "1F1B"],
    ids=lambda pair: pair.name,
)
def test_every_zero_bubble_schedule_beats_1f1b(pair: Pair) -> None:
    assert pair.zero_bubble.step_time_s < pair.base.step_time_s
    assert predicted_s(pair.zero_bubble.row.row_id) < predicted_s(pair.base.row.row_id)
