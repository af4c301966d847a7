"""--set: parsing, application, and blame."""

from pathlib import Path

import pytest

from simulator.errors import SpecError, TrainsimError
from simulator.spec.load import load_scenario
from simulator.spec.overrides import Override, apply_overrides, parse_override


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("plan.tp=8", "plan.tp", 8),
        ("name=a=b", "name", "a=b"),
        ("plan.bucket_bytes=25 MB", "plan.bucket_bytes", "25 MB"),
        ("training.recompute={mode: full}", "training.recompute", {"mode": "full"}),
        ("plan.layers_per_stage=[1, 2]", "plan.layers_per_stage", [1, 2]),
        ("model.sliding_window=null", "model.sliding_window", None),
        (" plan.sequence_parallel = true", "plan.sequence_parallel", True),
    ],
)
def test_values_are_yaml(text: str, path: str, value: object) -> None:
    assert parse_override(text) == Override(path, value)


@pytest.mark.parametrize("text", ["plan.tp", "=8", "plan..tp=8", ".=8", "plan.tp=", "plan.tp= "])
def test_what_is_no_assignment(text: str) -> None:
    with pytest.raises(SpecError, match="not of the form key=value"):
        parse_override(text)


@pytest.mark.parametrize("value", ["[1", "{a: b", "&a 1", "*a", "!!python/object:x 1", '"'])
def test_values_that_are_no_yaml(value: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_override(f"plan.tp={value}")
    assert caught.value.where.startswith("--set plan.tp")


def test_the_original_is_left_alone_and_the_last_assignment_wins() -> None:
    data = {"plan": {"tp": 1}, "name": "x"}
    overrides = [Override("plan.tp", 2), Override("plan.pp", 4), Override("plan.tp", 8)]
    assert apply_overrides(data, overrides) == {"plan": {"tp": 8, "pp": 4}, "name": "x"}
    assert data == {"plan": {"tp": 1}, "name": "x"}


def test_missing_mappings_appear_and_short_forms_are_written_out() -> None:
    data = {"stack": "ideal", "training": {"recompute": "full"}}
    overrides = [
        Override("plan.overlap.dp", True),
        Override("stack.gemm_scale", 1.1),
        Override("training.recompute.num_layers", 1),
    ]
    assert apply_overrides(data, overrides) == {
        "stack": {"preset": "ideal", "gemm_scale": 1.1},
        "training": {"recompute": {"mode": "full", "num_layers": 1}},
        "plan": {"overlap": {"dp": True}},
    }


def test_a_path_through_a_number() -> None:
    with pytest.raises(SpecError, match=r"leads into 'plan\.tp', which is no mapping"):
        apply_overrides({"plan": {"tp": 1}}, [Override("plan.tp.x", 1)])


@pytest.mark.parametrize(
    ("assignment", "place"),
    [
        ("plan.tpp=3", "--set plan.tpp=3"),
        ("plan.tp=7", "--set plan.tp=7"),
        ("model.hidden_size=x", "--set model.hidden_size=x"),
        ("stack.gemm_scale=-1", "--set stack.gemm_scale=-1"),
        ("training.precision=fp8", "--set training.precision=fp8"),
    ],
)
def test_the_assignment_is_blamed_and_not_the_file(assignment: str, place: str) -> None:
    with pytest.raises(TrainsimError) as caught:
        load_scenario("gpt3-175b-a100-64", [assignment])
    assert caught.value.where == place


def test_an_error_of_the_file_stays_there(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("model: gpt2\ntraining: {global_batch_size: 8}\ncluster: selene\n")
    with pytest.raises(SpecError) as caught:
        load_scenario(path, ["plan.dp=8"])
    assert caught.value.where == f"{path}: training.seq_length"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("plan.tp={a: null, b: true}", "tp must be a valid integer, got {a: null, b: true}"),
        ("plan.tp=~", "tp must be a valid integer, got null"),
        ("plan.sequence_parallel=[True, .inf]", "got [true, .inf]"),
        ("training.precision=True", "true is not one of 'fp32'"),
        ("plan.exchange.policy={a: 1}", "{a: 1} is not one of 'every_step'"),
        ("plan.exchange.policy=null", "null is not one of 'every_step'"),
        ("plan.bucket_bytes=true", "true has no unit"),
        ("stack.preset=[a]", "[a] is not a name"),
        ("model=null", "null is not a mapping"),
        ("cluster={extends: {a: 1}}", "{a: 1} is not a name or a path"),
    ],
)
def test_messages_speak_yaml(text: str, problem: str) -> None:
    """A value is shown as YAML says it, and an assignment as it was written."""
    with pytest.raises(TrainsimError) as caught:
        load_scenario("gpt2-xl-one-gpu", [text])
    assert problem in caught.value.problem
    assert f"--set {text}" in caught.value.where or "extends" in caught.value.where
