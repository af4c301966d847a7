from __future__ import annotations

import numpy as np
import pytest

from simulator.scenario import Scenario
from simulator.schedule.table import build_schedule
from simulator.search.data_parallel import RankColumns
from simulator.search.enumeration import enumerate_candidates
from simulator.search.evaluate import evaluate
from simulator.search.gathered import gathered_bound_s
from simulator.search.layout import Layout, Pipeline
from simulator.search.policies import gathers_before_use
from simulator.search.space import Space, candidate_scenario
from simulator.simulate import simulate

SCHEDULES = ("gpipe", "1f1b", "interleaved", "zb-h1", "zb-v")


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_bound_never_exceeds_the_simulated_step(tiny: Scenario, schedule: str) -> None:
    space = Space(8, schedules=(schedule,), shardings=("zero3",), max_micro_batch_size=2)
    candidates = enumerate_candidates(tiny, space).candidates
    rows = np.flatnonzero(gathers_before_use(candidates) & (candidates.pp > 1))
    candidates = candidates.take(rows[:: max(rows.size // 12, 1)])
    times = evaluate(tiny, 8, candidates)
    assert len(candidates) >= 8
    assert not times.exact.any()
    for row, bound_s in enumerate(times.step_time_s.tolist()):
        report = simulate(candidate_scenario(tiny, candidates, row), levers=False)
        assert 0 < bound_s <= report.step_time_s


def test_the_busiest_rank_holds_up_the_step(tiny: Scenario) -> None:
    """2 ranks, stages of 4 layers. Forward and backward take 1 + 2 and 2 + 2 seconds.

    4 microbatches: 12 and 16 s of compute, 4 * 1 and 4 * 5 = 20 s of gathers; reductions 2,
    optimizer 0.5. Beside compute: max(16, 20) + 0.5; in its stream: 16 + 20 + 2 + 0.5.
    """
    schedule = build_schedule("1f1b", 2, 4, 1)
    pipeline = Pipeline(schedule, Layout.of(tiny, 2, balanced=False))
    space = Space(8, schedules=("1f1b",), shardings=("zero3",), max_micro_batch_size=1)
    candidates = enumerate_candidates(tiny, space).candidates
    fits = (candidates.pp == 2) & (candidates.dp == 4) & (candidates.microbatches == 4)
    beside, in_line = (np.flatnonzero(fits & (candidates.overlap_dp == v))[:1] for v in (1, 0))
    candidates = candidates.take(np.concatenate((beside, in_line)))
    phases_s = np.zeros((3, 4, 2, 2))
    phases_s[0, 0] = [[1.0, 1.0], [2.0, 2.0]]
    phases_s[1, 0] = 2.0
    every = np.ones((2, 2))
    ranks = RankColumns(
        reduce_s=2 * every,
        gather_s=0 * every,
        optimizer_s=0.5 * every,
        lead_gather_s=0 * every,
        layer_gathers_s=np.array([[1.0, 1.0], [5.0, 5.0]]),
        tied_s=np.zeros(2),
    )
    bound_s = gathered_bound_s(pipeline, candidates, ranks, phases_s, np.array([1.0, 1.0]))
    # The bound stays below by what rounding of single layers may take.
    assert bound_s.tolist() == pytest.approx([20.5, 38.5], rel=1e-8)
    assert (bound_s < [20.5, 38.5]).all()
