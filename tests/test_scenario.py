"""Rules that the parts of a scenario must keep with one another."""

from dataclasses import replace

import pytest

from simulator.errors import PlanError, ScheduleError
from simulator.plan import Recompute
from simulator.scenario import MAX_ACTIONS, Scenario, check
from simulator.sharding import SHARDING
from simulator.spec.load import parse_scenario

# 12 layers, 12 heads, 16 devices, 32 sequences a step.
BASE = parse_scenario(
    {
        "model": "gpt2",
        "training": {"global_batch_size": 32, "seq_length": 1024},
        "plan": {"tp": 2, "pp": 2, "dp": 4},
        "cluster": {"preset": "selene", "nodes": 2},
    }
)


def with_plan(**changes: object) -> Scenario:
    return replace(BASE, plan=replace(BASE.plan, **changes))


def with_training(**changes: object) -> Scenario:
    return replace(BASE, training=replace(BASE.training, **changes))


def with_model(**changes: object) -> Scenario:
    return replace(BASE, model=replace(BASE.model, **changes))


def test_the_base_is_right() -> None:
    check(BASE)


@pytest.mark.parametrize(
    "scenario",
    [
        with_plan(dp=1),
        with_plan(tp=1, dp=8),
        with_plan(virtual_stages=3, schedule="interleaved"),
        with_plan(layers_per_stage=(5, 7)),
        with_plan(shard_group_size=2, sharding=SHARDING["zero3"]),
        with_plan(axis_order=("tp", "pp", "cp", "dp")),
        with_plan(axis_order=("tp", "dp", "cp", "pp")),
        with_model(num_query_groups=1),
        with_training(recompute=Recompute("full", 6)),
        replace(BASE, stragglers=((15, 0.5),)),
    ],
)
def test_right_ones(scenario: Scenario) -> None:
    check(scenario)


@pytest.mark.parametrize(
    ("scenario", "where", "operands", "hint"),
    [
        (with_plan(dp=5), "plan", ["2 * 1 * 5 * 2", "20", "selene", "2 nodes * 8 = 16"], "lower"),
        (with_plan(tp=8, pp=1, dp=1), "plan.tp", ["12", "tp = 8"], "1, 2, 3, 4, 6 or 12"),
        (with_model(num_query_groups=3), "plan.tp", ["tp = 2", "groups 3"], "1, 3, 6 or 12"),
        (with_model(ffn_hidden_size=3073), "plan.tp", ["3073", "tp = 2"], "1, 7, 439 or 3073"),
        (with_plan(pp=5, dp=1), "plan.pp", ["12", "5 * 1"], "layers_per_stage"),
        (with_plan(layers_per_stage=(5, 6)), "plan.layers_per_stage", ["11", "12"], ""),
        (with_training(micro_batch_size=3), "training.global_batch_size", ["32", "4 * 3"], "12"),
        (with_training(global_batch_size=2), "training.global_batch_size", ["2 ", "4 * 1"], "4"),
        (with_plan(cp=2, dp=2), "plan.cp", ["cp = 2"], "set plan.cp: 1"),
        (with_training(seq_length=2048), "training.seq_length", ["2048", "1024"], "set model."),
        (
            with_plan(shard_group_size=3, sharding=SHARDING["zero3"]),
            "plan.shard_group_size",
            ["3", "4 * 1"],
            "1, 2 or 4",
        ),
        (with_plan(shard_group_size=2), "plan.shard_group_size", ["2", "ddp"], "leave it out"),
        (with_plan(axis_order=("tp", "cp", "pp")), "plan.axis_order", ["tp"], "each axis once"),
        (with_plan(axis_order=("cp", "tp", "dp", "pp")), "plan.axis_order", ["cp"], "side by"),
        (with_training(precision="fp8"), "training.precision", ["fp8", "a100"], "bf16"),
        (
            with_training(recompute=Recompute("full", 7)),
            "training.recompute.num_layers",
            ["7", "6 layers"],
            "at most 6",
        ),
        (replace(BASE, stragglers=((16, 0.5),)), "stragglers", ["16"], "0 to 15"),
        (replace(BASE, stragglers=((-1, 0.5),)), "stragglers", ["-1"], "0 to 15"),
        (replace(BASE, stragglers=((1, 0.0),)), "stragglers", ["0.0", "rank 1"], "0.9"),
    ],
)
def test_broken_rules_give_all_operands_and_a_hint(
    scenario: Scenario, where: str, operands: list[str], hint: str
) -> None:
    with pytest.raises(PlanError) as caught:
        check(scenario)
    assert caught.value.where == where
    assert [operand for operand in operands if operand not in caught.value.problem] == []
    assert hint in caught.value.hint


def test_sequence_parallelism_splits_tokens_or_features() -> None:
    check(with_plan(sequence_parallel=True))
    odd_tokens = replace(
        with_training(seq_length=1023), plan=with_plan(sequence_parallel=True).plan
    )
    check(odd_tokens)
    with pytest.raises(PlanError, match="neither seq_length / cp = 1023 nor hidden_size 769"):
        check(replace(odd_tokens, model=with_model(hidden_size=769).model))


@pytest.mark.parametrize(
    "scenario",
    [
        with_plan(schedule="interleaved", virtual_stages=1),
        with_plan(schedule="1f1b", virtual_stages=2),
        replace(
            with_training(global_batch_size=28),
            plan=with_plan(schedule="interleaved", virtual_stages=2).plan,
        ),
    ],
)
def test_schedules_that_do_not_exist_for_a_plan(scenario: Scenario) -> None:
    with pytest.raises(ScheduleError) as caught:
        check(scenario)
    assert caught.value.hint


def test_a_step_too_large_to_hold_is_refused_before_it_is_built() -> None:
    # 2 phases * 2 stages * (batch / 4) microbatches
    check_fails = with_training(global_batch_size=MAX_ACTIONS + 4)
    with pytest.raises(PlanError, match="more than 4,000,000"):
        check(check_fails)


@pytest.mark.parametrize("key", ["tp", "cp", "dp", "pp", "virtual_stages"])
@pytest.mark.parametrize("value", [0, -1])
def test_degrees_are_at_least_one(key: str, value: int) -> None:
    with pytest.raises(PlanError, match=f"{key} = {value} is not at least 1") as caught:
        check(with_plan(**{key: value}))
    assert caught.value.where == f"plan.{key}"


@pytest.mark.parametrize("key", ["global_batch_size", "micro_batch_size", "seq_length"])
def test_sizes_are_at_least_one(key: str) -> None:
    with pytest.raises(PlanError, match=f"{key} = 0 is not at least 1"):
        check(with_training(**{key: 0}))
