from __future__ import annotations

import pytest

from simulator.errors import PlanError, UnknownNameError
from simulator.search.enumeration import enumerate_candidates
from simulator.search.space import Space, candidate_scenario, layers_per_stage, settings
from simulator.spec.load import load_scenario


def test_layers_are_divided_evenly_or_with_embedding_and_output_counted() -> None:
    assert layers_per_stage(8, 4, balanced=False) == (2, 2, 2, 2)
    # 126 + 2 = 128 layers on 4 stages: 32 each, of which embedding and output are one.
    assert layers_per_stage(126, 4, balanced=True) == (31, 32, 32, 31)
    with pytest.raises(PlanError, match="126 layers are not divisible by 4"):
        layers_per_stage(126, 4, balanced=False)


def test_settings_make_the_same_scenario_through_the_loader() -> None:
    base = load_scenario("gpt3-175b-a100-64", [])
    candidates = enumerate_candidates(base, Space(64, recompute_layers=True)).candidates
    for row in range(7, len(candidates), len(candidates) // 5):
        ours = candidate_scenario(base, candidates, row)
        overrides = [
            f"{key}={_yaml(value)}" for key, value in settings(base, candidates, row).items()
        ]
        loaded = load_scenario("gpt3-175b-a100-64", overrides)
        assert (loaded.plan, loaded.training) == (ours.plan, ours.training)


def _yaml(value: object) -> str:
    return "null" if value is None else str(value).replace("'", "")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown schedule 'zb'"):
        Space(8, schedules=("zb",))
    with pytest.raises(PlanError, match="mics is not searched"):
        Space(8, shardings=("zero3", "mics"))
