from __future__ import annotations

import numpy as np
import pytest

from simulator.scenario import Scenario
from simulator.search.enumeration import enumerate_candidates
from simulator.search.policies import (
    gathers_after_step,
    gathers_before_use,
    reduces_every_microbatch,
    shards_gradients,
)
from simulator.search.space import SHARDING_NAMES, Candidates, Space


@pytest.fixture
def candidates(tiny: Scenario) -> Candidates:
    return enumerate_candidates(tiny, Space(8, schedules=("1f1b",), overlaps=False)).candidates


def policies_of(candidates: Candidates, rows: np.ndarray) -> set[str]:
    return {SHARDING_NAMES[index] for index in candidates.sharding[rows].tolist()}


def test_policies_by_what_they_do(candidates: Candidates) -> None:
    """ZeRO 1 and 2 keep whole weights, 3 does not; 2 and 3 shard gradients."""
    assert policies_of(candidates, gathers_before_use(candidates)) == {"zero3"}
    assert policies_of(candidates, gathers_after_step(candidates)) == {"zero1", "zero2"}
    assert policies_of(candidates, reduces_every_microbatch(candidates)) == {"zero2", "zero3"}
    assert policies_of(candidates, shards_gradients(candidates)) == {"zero2", "zero3"}


def test_without_replicas_nothing_is_sent(tiny: Scenario) -> None:
    space = Space(8, schedules=("1f1b",), shardings=("zero2",), overlaps=False)
    candidates = enumerate_candidates(tiny, space).candidates
    alone = candidates.dp == 1
    assert alone.any()
    assert not gathers_after_step(candidates)[alone].any()
    assert not reduces_every_microbatch(candidates)[alone].any()
    assert gathers_after_step(candidates)[~alone].all()
    assert shards_gradients(candidates).all()
