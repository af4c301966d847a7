"""Rows of the cost table of a step: reductions, gathers, the optimizer."""

from __future__ import annotations

import pytest

from simulator.cost.memory_bound import memory_bound_s
from simulator.step import build_step
from tests.test_simulate import row_s, scenario_of


def test_zero1_may_all_reduce_its_gradients() -> None:
    plan: dict[str, object] = {"dp": 8, "sharding": "zero1"}
    scattered, reduced = (
        build_step(scenario_of(plan, stack={"sharded_all_reduce": switch}))
        for switch in (False, True)
    )
    unsharded = build_step(scenario_of({"dp": 8}))
    assert row_s(reduced, "reduce ") == row_s(unsharded, "reduce ")
    # A ring moves every byte twice instead of once; latencies keep it from exactly 2.
    assert 1.6 < row_s(reduced, "reduce ") / row_s(scattered, "reduce ") < 2.2
    assert row_s(reduced, "gather ") == row_s(scattered, "gather ")


def test_copies_around_the_reduction_cost_their_bytes() -> None:
    plan: dict[str, object] = {"dp": 8, "sharding": "zero1"}
    bare, copied = (
        build_step(scenario_of(plan, stack={"gradient_copy_bytes": moved})) for moved in (0.0, 30.0)
    )
    accelerator = copied.scenario.cluster.node.accelerator
    # One launch, and 30 bytes of each of the rank's parameters at the bandwidth of copies.
    expected_s = memory_bound_s(30 * copied.costs.rank_parameters((0,)), "copy", accelerator)
    added_s = row_s(copied, "optimizer ") - row_s(bare, "optimizer ")
    assert added_s == pytest.approx(expected_s, rel=1e-9)
    alone = [
        build_step(scenario_of({"dp": 1}, stack={"gradient_copy_bytes": moved}))
        for moved in (0.0, 30.0)
    ]
    assert row_s(alone[0], "optimizer ") == row_s(alone[1], "optimizer ")


def test_fp8_weights_travel_in_16_bits() -> None:
    steps = [
        build_step(
            scenario_of(
                {"dp": 8, "sharding": "zero1"},
                training={"precision": precision},
                cluster={"preset": "dgx-h100-superpod", "nodes": 1},
            )
        )
        for precision in ("bf16", "fp8")
    ]
    assert row_s(steps[0], "gather") == row_s(steps[1], "gather")
