from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from simulator.plan import Recompute
from simulator.report.report import MEMORY_TERMS
from simulator.scenario import Scenario
from simulator.simulate import simulate
from simulator.step import build_step
from tests.strategies import scenarios
from tests.test_simulate import scenario_of


@given(scenarios(max_ranks=16))
def test_terms_sum_to_the_peak_and_the_curve_reaches_it(scenario: Scenario) -> None:
    memory = simulate(scenario).memory
    assert sum(rank.num_ranks for rank in memory.rank_classes) == scenario.plan.num_devices
    assert memory.peak_bytes == max(rank.peak_bytes for rank in memory.rank_classes)
    assert memory.fits == (memory.peak_bytes <= memory.capacity_bytes)
    for rank in memory.rank_classes:
        assert set(rank.terms) == set(MEMORY_TERMS)
        assert min(rank.terms.values()) >= 0.0
        assert sum(rank.terms.values()) == pytest.approx(rank.peak_bytes, rel=1e-9)
        assert max(rank.history_bytes) == pytest.approx(rank.peak_bytes, rel=1e-9)


def test_weights_gradients_and_states_of_one_device() -> None:
    scenario = scenario_of({"dp": 1}, training={"precision": "bf16"})
    # A layer: 12 h^2 matrices, 13 h biases and norms; twice 1280 rows, a final norm of 2 h.
    parameters = 8 * (12 * 2048**2 + 13 * 2048) + 2 * 1280 * 2048 + 2 * 2048
    terms = simulate(scenario).memory.rank_classes[0].terms
    optimizer = scenario.training.optimizer
    assert terms["weights"] == 2 * parameters
    assert terms["gradients"] == optimizer.gradient_bytes * parameters
    assert terms["optimizer"] == 8 * parameters
    assert terms["master_weights"] == 4 * parameters
    assert terms["framework"] == terms["communicators"] == terms["fragmentation"] == 0.0


def test_stage_r_of_1f1b_holds_p_minus_r_microbatches() -> None:
    ranks = simulate(scenario_of({"pp": 4, "dp": 1})).memory.rank_classes
    assert [rank.inflight_microbatches for rank in ranks] == [4, 3, 2, 1]
    assert ranks[0].peak_bytes > ranks[1].peak_bytes > ranks[2].peak_bytes


def test_gpipe_holds_them_all() -> None:
    scenario = scenario_of(
        {"pp": 4, "dp": 1, "schedule": "gpipe"}, training={"global_batch_size": 6}
    )
    ranks = simulate(scenario).memory.rank_classes
    assert [rank.inflight_microbatches for rank in ranks] == [6, 6, 6, 6]


def test_logits_are_on_the_last_rank() -> None:
    scenario = scenario_of({"pp": 4, "dp": 1})
    held = [rank.terms["logits"] for rank in simulate(scenario).memory.rank_classes]
    # One microbatch of 1024 tokens, 1280 rows, fp32.
    assert held == [0.0, 0.0, 0.0, 1024 * 1280 * 4.0]


def test_activations_of_one_microbatch_are_those_of_its_stage() -> None:
    scenario = scenario_of({"dp": 1})
    step = build_step(scenario)
    (activations,) = step.costs.activations
    terms = simulate(scenario).memory.rank_classes[0].terms
    held = terms["activations"] + terms["logits"]
    assert held == pytest.approx(activations.held + activations.working)


def test_with_few_activations_the_peak_is_in_the_optimizer() -> None:
    # bf16 gradients are widened to fp32 in the optimizer: 4 bytes for each of 500 M parameters,
    # far more than what 16 tokens hold.
    scenario = scenario_of({"dp": 1}, training={"seq_length": 16}, stack={"gradient_bytes": 2.0})
    report = simulate(scenario)
    (rank,) = report.memory.rank_classes
    assert rank.peak_at_s == report.timeline.makespan_s
    assert rank.terms["activations"] == rank.terms["logits"] == 0.0
    assert rank.terms["buffers"] == 2 * rank.terms["weights"]


def test_recomputation_lowers_the_peak() -> None:
    scenario = scenario_of({"pp": 2, "dp": 1}, stack={"attention": "unfused"})
    peaks = [
        simulate(
            replace(scenario, training=replace(scenario.training, recompute=Recompute(mode)))
        ).memory.peak_bytes
        for mode in ("none", "selective", "full")
    ]
    assert peaks == sorted(peaks, reverse=True)
    assert len(set(peaks)) == 3


def test_framework_and_communicators_are_the_stacks() -> None:
    scenario = scenario_of(
        {"tp": 2, "pp": 2, "dp": 2},
        stack={"framework_memory": "1 GB", "communicator_memory": "100 MB", "fragmentation": 0.1},
    )
    terms = simulate(scenario).memory.rank_classes[0].terms
    assert terms["framework"] == 1e9
    assert terms["communicators"] == 3 * 100e6  # tp, pp and dp
    comes_and_goes = terms["activations"] + terms["logits"] + terms["buffers"]
    assert terms["fragmentation"] == pytest.approx(0.1 * comes_and_goes)


def test_workspaces_are_among_the_buffers() -> None:
    (rank,) = simulate(
        scenario_of({"dp": 1}, stack={"workspace_memory": "64 MB"})
    ).memory.rank_classes
    assert rank.terms["buffers"] == 64e6


def test_flat_tensors_of_the_optimizer_stay_reserved() -> None:
    """bf16 gradients widened to fp32, 4 bytes each: they add to the passes, or replace them."""
    flat, split = (
        simulate(
            scenario_of({"dp": 1}, stack={"gradient_bytes": 2.0, "flat_optimizer": is_flat})
        ).memory.rank_classes[0]
        for is_flat in (True, False)
    )
    assert flat.terms["buffers"] == split.terms["buffers"] == 2 * flat.terms["weights"]
    held = flat.terms["activations"] + flat.terms["logits"]
    assert held > 0
    assert split.terms["activations"] == 0  # its peak is in the optimizer
    assert flat.peak_bytes == pytest.approx(split.peak_bytes + held)


def test_intermediate_tensors_of_an_unfused_optimizer() -> None:
    """Root and denominator in fp32, 8 bytes beside the 4 of a widened gradient, over the shards."""
    stack = {"gradient_bytes": 2.0, "optimizer_intermediate_bytes": 8.0}
    for plan in ({"dp": 1}, {"dp": 2, "sharding": "zero1"}):
        terms = simulate(scenario_of(plan, stack=stack)).memory.rank_classes[0].terms
        stepped = terms["master_weights"] / 4
        assert terms["buffers"] == 12 * stepped > 0


def test_bf16_training_may_keep_a_second_gradient() -> None:
    terms = [
        simulate(scenario_of({"dp": 1}, stack={"bf16_gradient_copy": copy}))
        .memory.rank_classes[0]
        .terms
        for copy in (False, True)
    ]
    # 2 bytes each, as the weights.
    assert terms[1]["gradients"] == terms[0]["gradients"] + terms[0]["weights"]


@pytest.mark.parametrize("sharding", ["zero2", "zero3"])
def test_pipeline_ranks_accumulate_whole_gradients(sharding: str) -> None:
    """They leave once per step, so their memory is that of plain data parallelism."""
    plans = [{"pp": 2, "dp": 4, "sharding": name} for name in (sharding, "ddp")]
    sharded, whole = (simulate(scenario_of(plan)).memory.rank_classes[0].terms for plan in plans)
    assert sharded["gradients"] == whole["gradients"]
    assert sharded["optimizer"] == whole["optimizer"] / 4


def test_a_virtual_stage_gives_its_gradients_away_after_its_last_microbatch() -> None:
    """With m == p rank 0 ends stage 2, of 2 of its 4 layers, before stage 0 begins.

    Whole are those of stage 0, which also has the table, and 1/4 of stage 2.
    """
    plan = {"pp": 2, "dp": 4, "virtual_stages": 2, "schedule": "interleaved"}
    training = {"global_batch_size": 8, "micro_batch_size": 1}
    scenario = scenario_of(plan | {"sharding": "zero2"}, training=training)
    first, _, third, _ = (build_step(scenario).costs.parameters(stage) for stage in range(4))
    gradients = simulate(scenario).memory.rank_classes[0].terms["gradients"]
    width = scenario.training.optimizer.gradient_bytes
    assert gradients == pytest.approx(width * (first + third / 4))


@pytest.mark.parametrize("sharding", ["zero1", "zero2", "zero3"])
def test_sharding_over_one_replica_changes_nothing(sharding: str) -> None:
    peaks = [
        simulate(scenario_of({"pp": 2, "dp": 1, "sharding": name})).memory.peak_bytes
        for name in (sharding, "ddp")
    ]
    assert peaks[0] == pytest.approx(peaks[1], rel=1e-12)
