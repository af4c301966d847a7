"""Keys that are varied, and all their combinations."""

import pytest

from simulator.errors import SpecError
from simulator.spec.overrides import Override
from simulator.whatif.axes import MAX_COMBINATIONS, Axis, combinations, parse_axis, shown


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("plan.tp=1,2,4", (1, 2, 4)),
        ("plan.sharding=zero1,zero3", ("zero1", "zero3")),
        ("plan.sequence_parallel=true,false", (True, False)),
        ("plan.layers_per_stage=[8, 16],[12, 12]", ([8, 16], [12, 12])),
        ("x.y={mode: full, num_layers: 2},none", ({"mode": "full", "num_layers": 2}, "none")),
        ("plan.shard_group_size=null,8", (None, 8)),
        ("plan.bucket_bytes=100 MB,1 GB", ("100 MB", "1 GB")),
    ],
)
def test_values_are_yaml_with_commas_between(text: str, values: tuple[object, ...]) -> None:
    assert parse_axis(text) == Axis(text.partition("=")[0], values)


@pytest.mark.parametrize("text", ["plan.tp", "=1,2", "plan..tp=1", "plan.tp=", "plan.tp=[", "a=]"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(SpecError):
        parse_axis(text)


def test_every_combination_the_last_axis_fastest() -> None:
    found = combinations([Axis("plan.tp", (1, 2)), Axis("training.precision", ("bf16", "fp8"))])
    assert [one.label for one in found] == [
        "tp=1 precision=bf16",
        "tp=1 precision=fp8",
        "tp=2 precision=bf16",
        "tp=2 precision=fp8",
    ]
    assert found[2].assignments == (Override("plan.tp", 2), Override("training.precision", "bf16"))


def test_without_axes_there_is_one() -> None:
    (one,) = combinations([])
    assert (one.label, one.assignments) == ("", ())


def test_keys_are_told_apart() -> None:
    (one,) = combinations([Axis("cluster.preset", ("selene",)), Axis("model.preset", ("gpt2-xl",))])
    assert one.label == "cluster.preset=selene model.preset=gpt2-xl"
    (one,) = combinations([Axis("a.x", (1,)), Axis("b.x", (2,))])
    assert one.label == "a.x=1 b.x=2"


def test_too_many_and_repeated_are_refused() -> None:
    side = tuple(range(101))
    with pytest.raises(SpecError, match=f"10201 combinations are more than {MAX_COMBINATIONS}"):
        combinations([Axis("a", side), Axis("b", side)])
    with pytest.raises(SpecError, match="'a' is varied twice"):
        combinations([Axis("a", (1,)), Axis("a", (2,))])


def test_values_are_shown_as_yaml() -> None:
    assert shown({"mode": "full", "keeps_qkv": True}) == "{mode: full, keeps_qkv: true}"
    assert shown([1, None, "a"]) == "[1, null, a]"
