"""Passes are slower beside collectives: hand-worked on one layer's numbers, and in a graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.schedule.action import Phase
from simulator.simulate import simulate
from simulator.spec.load import load_scenario
from simulator.step import build_step
from simulator.workload.price import slowed_s
from simulator.workload.slowed import bucket_slowed_s, piece_slowed_s

SHARE = 0.189
GPU = load_scenario("llama2-7b-fsdp").cluster.node.accelerator


def test_the_shorter_of_both_counts() -> None:
    """10 ms of compute beside 4 ms of gather: 0.189 * 4 = 0.756 ms; beside 40 ms, 1.89 ms."""
    assert slowed_s(10e-3, 4e-3, GPU) == pytest.approx(0.756e-3)
    assert slowed_s(10e-3, 40e-3, GPU) == pytest.approx(1.89e-3)
    assert slowed_s(np.array([10e-3, 1e-3]), 4e-3, GPU) == pytest.approx([0.756e-3, 0.189e-3])


def test_chips_with_remote_copies_of_their_own_lose_nothing() -> None:
    assert slowed_s(10e-3, 4e-3, replace(GPU, architecture="tpu")) == 0.0


def test_the_last_of_the_buckets_is_beside_nothing() -> None:
    """4 pieces of 10 ms, each followed by 4 ms of reduction: 3 of 4 reductions are beside one."""
    assert 4 * bucket_slowed_s(10e-3, 4e-3, 4, GPU) == pytest.approx(3 * SHARE * 4e-3)
    assert bucket_slowed_s(10e-3, 4e-3, 1, GPU) == 0.0


@pytest.mark.parametrize("overlap", [True, False])
def test_layers_bear_their_gathers_and_reductions(overlap: bool) -> None:
    """Only beside one another; a forward has a gather, a backward a reduction as well."""
    scenario = load_scenario("llama2-7b-fsdp", [f"plan.overlap.dp={str(overlap).lower()}"])
    costs = build_step(scenario).costs
    layers = costs.kinds[0].num_layers
    seconds = costs.table.seconds
    gather = seconds(costs.gather_row((0,), num_pieces=layers))
    both = gather + seconds(costs.reduce_row((0,), num_pieces=layers))
    for phase, beside_s in ((Phase.F, gather), (Phase.B, both)):
        cost = costs.stage_cost(0, phase)
        compute_s = (cost.compute_s + cost.recompute_s) / layers
        expected = SHARE * min(compute_s, beside_s) if overlap else 0.0
        assert piece_slowed_s(costs, 0, phase, layers) == pytest.approx(expected)


def test_the_step_is_longer_by_what_its_layers_bear() -> None:
    """All gathers but the first are hidden in this step: what is left is the slow-down.

    Exposed beside it are the gather that opens the step and the reduction that ends it: less than
    those of two layers.
    """
    scenario = load_scenario("llama2-7b-fsdp")
    costs = build_step(scenario).costs
    layers = costs.kinds[0].num_layers
    microbatches = scenario.training.global_batch_size // (
        scenario.training.micro_batch_size * scenario.plan.dp
    )
    borne = sum(layers * piece_slowed_s(costs, 0, phase, layers) for phase in (Phase.F, Phase.B))
    exposed = simulate(scenario, levers=False).time["dp_comm"]
    ends = costs.table.seconds(costs.gather_row((0,), num_pieces=layers))
    ends += costs.table.seconds(costs.reduce_row((0,), num_pieces=layers))
    assert microbatches * borne < exposed < microbatches * borne + 2 * ends
