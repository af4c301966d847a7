"""Scenario files: defaults, short forms, overrides, round trips."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import PlanError, ScheduleError, SpecError, TrainsimError
from simulator.scenario import Scenario
from simulator.spec.load import find_scenario, list_scenarios, load_scenario, parse_scenario

SMALL: dict[str, object] = {
    "model": "gpt2",
    "training": {"global_batch_size": 32, "seq_length": 1024},
    "cluster": {"preset": "selene", "nodes": 2},
}


def small(**parts: object) -> dict[str, object]:
    return SMALL | parts


def taken(scenario: Scenario) -> dict[str, str]:
    return {note.name: note.value for note in scenario.assumptions}


@pytest.mark.parametrize("name", list_scenarios())
def test_shipped_scenarios_load_and_are_named_after_their_file(name: str) -> None:
    assert load_scenario(name).name == name


@pytest.mark.parametrize("name", list_scenarios())
def test_normalised_form_is_json_and_gives_the_same_scenario(name: str) -> None:
    scenario = load_scenario(name)
    again = parse_scenario(json.loads(json.dumps(scenario.normalised)))
    assert again.assumptions == ()
    # The microbatch that was fitted is given now.
    given = replace(scenario, auto_fit=None)
    assert replace(again, assumptions=scenario.assumptions) == given


def test_the_scenario_of_the_documentation() -> None:
    scenario = load_scenario("gpt3-175b-a100-64")
    plan, training = scenario.plan, scenario.training
    assert (plan.tp, plan.pp, plan.virtual_stages, plan.dp, plan.cp) == (8, 8, 3, 1, 1)
    assert (plan.sequence_parallel, plan.schedule, plan.sharding.name) == (
        True,
        "interleaved",
        "ddp",
    )
    assert (training.global_batch_size, training.micro_batch_size) == (64, 1)
    assert (training.precision, training.recompute.mode) == ("fp16", "selective")
    # Adam: 8 bytes of moments, 4 of master weights; Megatron-LM keeps fp16 gradients in fp16.
    assert (training.optimizer.state_bytes, training.optimizer.master_bytes) == (8, 4)
    assert scenario.stack.fp16_gradients
    assert training.optimizer.gradient_bytes == 2
    assert scenario.cluster.num_devices == 64


def test_what_is_left_out_is_filled_in_and_listed() -> None:
    scenario = parse_scenario(SMALL)
    assert scenario.plan.dp == 16  # 2 nodes of 8, tp = cp = pp = 1
    assert scenario.plan.schedule == "1f1b"
    assert scenario.training.micro_batch_size == 1
    assert scenario.stack.name == "megatron-core-2024"
    notes = taken(scenario)
    assert notes["plan.dp"] == "16"
    assert notes["plan.schedule"] == "1f1b"
    assert notes["training.precision"] == "bf16"
    assert notes["training.optimizer"] == "adam"
    assert notes["plan.overlap.dp"] == "true"
    assert notes["stack"] == "megatron-core-2024"


def test_what_is_given_is_not_listed() -> None:
    scenario = parse_scenario(small(plan={"tp": 2, "dp": 8, "overlap": {"dp": False}}))
    assert not {"plan.tp", "plan.dp", "plan.overlap.dp"} & taken(scenario).keys()
    assert not scenario.plan.overlap_dp
    assert scenario.plan.overlap_tp


def test_several_virtual_stages_are_interleaved_by_default() -> None:
    plan = {"pp": 2, "virtual_stages": 2, "dp": 8}
    assert parse_scenario(small(plan=plan)).plan.schedule == "interleaved"


def test_short_forms_equal_long_ones() -> None:
    training = {"global_batch_size": 32, "seq_length": 1024}
    short = training | {"optimizer": "sgd", "recompute": "full"}
    long = training | {"optimizer": {"name": "sgd"}, "recompute": {"mode": "full"}}
    one = parse_scenario(small(training=short, stack="ideal"))
    two = parse_scenario(small(model={"preset": "gpt2"}, training=long, stack={"preset": "ideal"}))
    assert one == two


def test_fp32_training_keeps_no_master_copy_and_fp32_gradients() -> None:
    training = {"global_batch_size": 32, "seq_length": 1024, "precision": "fp32"}
    optimizer = parse_scenario(small(training=training)).training.optimizer
    assert optimizer.master_bytes == 0
    assert optimizer.gradient_bytes == optimizer.gradient_reduce_bytes == 4


def test_an_optimizer_of_ones_own() -> None:
    own = {"name": "mine", "state_bytes": 1.5, "gradient_bytes": 2}
    training = {"global_batch_size": 32, "seq_length": 1024, "optimizer": own}
    optimizer = parse_scenario(small(training=training)).training.optimizer
    assert (optimizer.name, optimizer.state_bytes, optimizer.master_bytes) == ("mine", 1.5, 4)
    assert optimizer.gradient_bytes == 2


def test_sequence_parallelism_without_tensor_parallelism_is_ignored_with_a_note() -> None:
    scenario = parse_scenario(small(plan={"sequence_parallel": True}))
    assert not scenario.plan.sequence_parallel
    assert taken(scenario)["plan.sequence_parallel"] == "false"


@pytest.mark.parametrize(("alias", "name"), [("fsdp", "zero3"), ("hsdp", "zero3"), ("none", "ddp")])
def test_aliases_of_sharding(alias: str, name: str) -> None:
    assert parse_scenario(small(plan={"sharding": alias})).plan.sharding.name == name


def test_fewer_devices_than_the_cluster_has() -> None:
    assert parse_scenario(small(plan={"dp": 4})).plan.num_devices == 4


def test_stack_values_can_be_replaced() -> None:
    stack = {"preset": "ideal", "gemm_scale": 1.25, "layer_overhead": "3 us", "attention": "flash1"}
    built = parse_scenario(small(stack=stack)).stack
    assert (built.gemm_scale, built.layer_overhead_s, built.attention) == (1.25, 3e-6, "flash1")


def test_bucket_is_a_quantity() -> None:
    plan = parse_scenario(small(plan={"bucket_bytes": "25 MB"})).plan
    assert plan.bucket_bytes == 25e6


def test_stragglers() -> None:
    scenario = parse_scenario(small(stragglers=[{"rank": 5, "speed": 0.9}]))
    assert scenario.stragglers == ((5, 0.9),)


def test_a_cluster_of_ones_own_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: selene\n")
    (tmp_path / "job.yaml").write_text(
        "model: gpt2\ntraining: {global_batch_size: 8, seq_length: 512}\n"
        "cluster: {preset: mine.yaml, nodes: 1}\n"
    )
    scenario = load_scenario(tmp_path / "job.yaml")
    assert (scenario.name, scenario.cluster.name, scenario.plan.dp) == ("job", "mine", 8)


def test_shipped_scenarios_are_found_by_name_and_by_path(tmp_path: Path) -> None:
    path = find_scenario("gpt3-175b-a100-64")
    assert find_scenario("scenarios/gpt3-175b-a100-64.yaml").samefile(path)
    assert find_scenario("GPT3-175B-A100-64.yaml").samefile(path)
    own = tmp_path / "gpt3-175b-a100-64.yaml"
    own.write_text("x: 1")
    assert find_scenario(own) == own
    with pytest.raises(SpecError):
        find_scenario(tmp_path / "gpt3-175b-a100-6.yaml")
    with pytest.raises(SpecError, match="no file and no shipped scenario"):
        find_scenario("../pyproject")


def outcome(plan: dict[str, object]) -> Scenario | TrainsimError:
    try:
        return parse_scenario(small(plan=plan))
    except TrainsimError as error:
        return error


@settings(deadline=None)
@given(tp=st.sampled_from([1, 2, 3, 4, 6]), pp=st.sampled_from([1, 2, 3, 4]), dp=st.integers(1, 9))
def test_any_plan_loads_or_says_why_not(tp: int, pp: int, dp: int) -> None:
    result = outcome({"tp": tp, "pp": pp, "dp": dp})
    if isinstance(result, TrainsimError):
        assert result.where.startswith("scenario: ")
        assert result.hint
        # gpt2 has 12 layers and 12 heads, which all these divide: only devices or batch can fail.
        assert tp * pp * dp > 16 or 32 % dp
    else:
        assert result.plan.num_devices == tp * pp * dp <= 16


@pytest.mark.parametrize(
    ("parts", "error", "where"),
    [
        ({"plan": {"ep": 2}}, PlanError, "plan.ep"),
        ({"plan": {"schedule": "1f1c"}}, SpecError, "plan.schedule"),
        ({"plan": {"sharding": "zero4"}}, SpecError, "plan.sharding"),
        ({"plan": {"tp": 3}}, PlanError, "plan.dp"),
        ({"plan": {"dp": 17}}, PlanError, "plan"),
        ({"plan": {"virtual_stages": 2, "schedule": "1f1b"}}, ScheduleError, "plan.virtual_stages"),
        ({"stack": {"gemm_scale": 2}}, SpecError, "stack"),
        ({"stack": "megatron"}, SpecError, "stack.preset"),
        ({"cluster": "selena"}, SpecError, "cluster.preset"),
        ({"cluster": {"preset": "selene", "nodes": 0}}, SpecError, "cluster: nodes"),
        ({"stragglers": [{"rank": 16, "speed": 0.5}]}, PlanError, "stragglers"),
    ],
)
def test_errors_name_their_place(
    parts: dict[str, object], error: type[TrainsimError], where: str
) -> None:
    with pytest.raises(error) as caught:
        parse_scenario(small(**parts), "job.yaml")
    assert caught.value.where == f"job.yaml: {where}"
