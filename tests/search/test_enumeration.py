from __future__ import annotations

import numpy as np
import pytest

from simulator.errors import PlanError
from simulator.scenario import Scenario, check
from simulator.search.enumeration import enumerate_candidates
from simulator.search.space import Space, candidate_scenario


def test_every_candidate_is_a_valid_scenario_and_none_comes_twice(tiny: Scenario) -> None:
    candidates = enumerate_candidates(tiny, Space(8, max_micro_batch_size=4)).candidates
    rows = np.stack(list(candidates.columns().values()), axis=1)
    assert len(np.unique(rows, axis=0)) == len(candidates) > 1000
    assert (candidates.tp * candidates.pp * candidates.dp == 8).all()
    for row in range(0, len(candidates), 41):
        check(candidate_scenario(tiny, candidates, row))


def test_rules_prune_with_counts_and_examples(tiny: Scenario) -> None:
    found = enumerate_candidates(tiny, Space(8, max_micro_batch_size=4))
    rule = "interleaved: pp does not divide the microbatches"
    assert found.pruned[rule] > 0
    assert "microbatches" in found.examples[rule]


def test_too_many_devices_are_refused(tiny: Scenario) -> None:
    with pytest.raises(PlanError, match="64 devices are more than the 16"):
        enumerate_candidates(tiny, Space(64))
