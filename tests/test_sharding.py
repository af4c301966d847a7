"""The table of sharding policies."""

from __future__ import annotations

import pytest

from simulator.search.space import SHARDING_NAMES
from simulator.sharding import (
    GROUPED,
    LEVELS,
    SHARDING,
    SHARDING_ALIASES,
    ShardingPolicy,
    Wire,
    described,
)


@pytest.mark.parametrize("policy", SHARDING.values(), ids=lambda policy: policy.name)
def test_every_state_is_divided_at_least_as_finely_as_the_one_before(
    policy: ShardingPolicy,
) -> None:
    places = [LEVELS.index(level) for level in (policy.weights, policy.gradients, policy.optimizer)]
    assert places == sorted(places)
    # Weights that are whole need no gather before use, and divided ones do.
    assert (policy.gather == "before_use") == policy.shard_weights
    assert policy.secondary is None or LEVELS.index(policy.secondary) < places[0]
    assert SHARDING[policy.name] is policy


def test_the_stages_of_zero_are_the_classic_ones() -> None:
    classic = [name for name, policy in SHARDING.items() if policy.is_classic]
    assert classic == ["ddp", "zero1", "zero2", "zero3"] == list(SHARDING_NAMES)


def test_other_names_mean_policies() -> None:
    assert {*SHARDING_ALIASES.values()} <= {*SHARDING}
    assert {*GROUPED} <= {*SHARDING, *SHARDING_ALIASES}


def test_a_wire_carries_its_scales() -> None:
    # 8 bits and 4 bytes for every 1,000: 1.004 bytes; 4 bits and 2 bytes for every 32: 0.5625.
    assert Wire(8, 1000).element_bytes == pytest.approx(1.004)
    assert Wire(4, 32, 2.0).element_bytes == 0.5625


def test_a_policy_in_one_line() -> None:
    assert described(SHARDING["ddp"]) == "nothing divided"
    assert described(SHARDING["zero2"]) == "gradients and optimizer states over all ranks"
    assert described(SHARDING["zero++"]) == (
        "weights and gradients and optimizer states over all ranks, backward gathers from a copy "
        "over a node, weights travel in int8, gradients travel in int4"
    )
    assert described(SHARDING["zero-topo"]).startswith(
        "weights over a pair, gradients over a node, optimizer states over all ranks"
    )
