"""Schedules in time: bubbles beside closed forms, what is held, which stage is slowest."""

import pytest

from simulator.errors import ScheduleError, UnknownNameError
from simulator.planning.grid import CLOSED_FORMS, chunks_for, laid_out, scenario_grid, unit_grid
from simulator.planning.variant import Job
from simulator.schedule.table import SCHEDULES
from simulator.simulate import simulate
from simulator.spec.load import load_scenario


def test_one_f_one_b_by_hand() -> None:
    """p 4, m 8, F 1, B 2: (8 + 3) x 3 = 33 long, 9 of them idle; rank r holds 4 - r."""
    grid = unit_grid("1f1b", 4, 8, 1)
    assert grid.length == 33
    assert grid.bubble_share == pytest.approx(9 / 33)
    assert grid.closed_form_share == pytest.approx(9 / 33)
    assert grid.inflight == (4, 3, 2, 1)


def test_zb_h1_by_hand() -> None:
    """p 4, m 8, F = B = W = 1: idle (4 - 1)(1 + 1 - 1) = 3 beside 24 of work."""
    grid = unit_grid("zb-h1", 4, 8, 1)
    assert grid.bubble_share == pytest.approx(3 / 27)


@pytest.mark.parametrize("kind", CLOSED_FORMS)
@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_with_enough_microbatches_the_closed_form_holds(kind: str, ranks: int) -> None:
    grid = unit_grid(kind, ranks, 4 * ranks, chunks_for(kind, 2))
    assert grid.closed_form_share is not None
    assert grid.bubble_share == pytest.approx(grid.closed_form_share, abs=1e-12)


def test_every_schedule_has_a_closed_form_with_its_source() -> None:
    assert CLOSED_FORMS.keys() == SCHEDULES.keys()
    assert all("arXiv" in source for _, _, source in CLOSED_FORMS.values())


def test_work_is_that_of_the_passes() -> None:
    """Busy time of every rank is m (F + B + W), whatever the schedule."""
    for kind in SCHEDULES:
        grid = unit_grid(kind, 4, 8, chunks_for(kind, 3))
        graph, timeline = grid.timeline.graph, grid.timeline
        for rank in range(4):
            own = graph.stream == rank
            busy = float((timeline.end_s[own] - timeline.start_s[own]).sum())
            assert busy == pytest.approx(8 * 3)


def test_a_scenario_has_its_simulated_times() -> None:
    report = simulate(load_scenario("gpt3-175b-a100-64"))
    grid = scenario_grid(Job("gpt3-175b-a100-64"))
    assert (grid.kind, grid.ranks, grid.microbatches, grid.chunks) == ("interleaved", 8, 64, 3)
    assert grid.length == report.step_time_s
    assert grid.bubble_share == report.time["bubble"] / report.step_time_s
    # The output layer is on the last stage, and nothing else differs among stages.
    assert grid.worst_stage == 23
    assert grid.closed_form_share == pytest.approx(grid.bubble_share, rel=0.05)


def test_what_does_not_exist_is_skipped_with_the_reason() -> None:
    wanted = [("interleaved", 8), ("interleaved", 6), ("1f1b", 6)]
    grids, skipped = laid_out(wanted, lambda k, m: unit_grid(k, 4, m, chunks_for(k, 2)))
    assert [(grid.kind, grid.microbatches) for grid in grids] == [("interleaved", 8), ("1f1b", 6)]
    assert [(s.schedule, s.microbatches) for s in skipped] == [("interleaved", 6)]
    assert "not divisible" in skipped[0].reason
    with pytest.raises(ScheduleError, match="not divisible"):
        laid_out(wanted[1:2], lambda k, m: unit_grid(k, 4, m, 2))
    with pytest.raises(UnknownNameError):
        laid_out([("1f2b", 8)], lambda k, m: unit_grid(k, 4, m, 1))
