from __future__ import annotations

import pytest

from simulator.errors import PlanError
from simulator.simulate import simulate
from simulator.spec.load import scenario_source
from simulator.whatif.swapping import best_swap


def test_the_best_amount_is_no_slower_than_all_or_nothing() -> None:
    small = ("model.num_layers=8", "training.micro_batch_size=8", "training.global_batch_size=8")
    all_recompute = (*small, "training.recompute=full")
    scenario, report = best_swap(scenario_source("fuyou-13b-rtx4090", all_recompute))
    assert report.memory.fits
    for recompute in ("full", "none"):
        other = scenario_source("fuyou-13b-rtx4090", (*small, f"training.recompute={recompute}"))
        whole = simulate(other.scenario(), levers=False)
        assert not whole.memory.fits or report.step_time_s <= whole.step_time_s
    assert scenario.plan.offload is not None


def test_without_a_home_for_activations_there_is_nothing_to_choose() -> None:
    with pytest.raises(PlanError, match="nothing to swap"):
        best_swap(scenario_source("zero-offload-13b"))
