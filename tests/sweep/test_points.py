from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import SpecError, UnknownNameError
from simulator.spec.sweep import Sweep, load_sweep
from simulator.sweep.points import MAX_COMBINATIONS, Shard, Space, parse_shard
from tests.sweep.conftest import NUM_POINTS


def space_of(folder: Path, text: str) -> Space:
    path = folder / "plans.yaml"
    path.write_text(text, encoding="utf-8")
    return Space(load_sweep(path))


def test_the_last_axis_varies_fastest_and_constraints_hold(sweep: Sweep) -> None:
    points = list(Space(sweep).points())
    values = [tuple(value for _, value in point.values) for point in points]
    wanted = itertools.product(*sweep.axes.values())
    # Columns: layers, global batch, micro-batch, length, recompute.
    assert values == [v for v in wanted if v[2] * v[3] <= 16384]
    assert len(points) == NUM_POINTS
    assert len({point.id for point in points}) == NUM_POINTS


def test_ids_are_those_of_the_content(sweep: Sweep) -> None:
    points = list(Space(sweep).points())
    assert points == list(Space(sweep).points())
    renamed = replace(sweep, name="other", where="elsewhere", constraints=())
    ids = {point.id for point in Space(renamed).points()}
    assert {point.id for point in points} < ids
    other = replace(sweep, base={**sweep.base, "stack": "ideal"})
    assert not {point.id for point in Space(other).points()} & ids


def test_an_edited_cluster_makes_other_points(tmp_path: Path) -> None:
    text = (
        "scenario: {model: gpt2-xl, training: {global_batch_size: 8, seq_length: 1024},"
        " cluster: {preset: mine.yaml, nodes: 1}}\naxes: {plan.tp: [1, 8]}\n"
    )
    cluster = "extends: selene\nnum_nodes: {value: %d, source: 'mine'}\n"
    ids: list[set[str]] = []
    for hop in ("1 us", "1 us", "2 us"):
        extra = (
            f"tiers: [{{name: a, nodes_per_group: 4, oversubscription: 1, hop: {hop}, source: b}}]"
        )
        (tmp_path / "mine.yaml").write_text(cluster % 4 + extra, encoding="utf-8")
        ids.append({point.id for point in space_of(tmp_path, text).points()})
    assert ids[0] == ids[1]
    assert not ids[0] & ids[2]


def test_derived_values_see_the_model_and_the_devices(tmp_path: Path) -> None:
    text = """
scenario: gpt3-175b-a100-64
axes: {plan.tp: [1, 8], cluster.nodes: [8, 4, 100000]}
derive:
  plan.dp: devices // (plan.tp * plan.pp)
  training.global_batch_size: plan.dp * 8
constraints: ["model.num_layers % plan.pp == 0", "plan.pp == 8"]
"""
    found = [dict(point.values) for point in space_of(tmp_path, text).points()]
    # 8 nodes of 8 devices are 64 = 1 * 8 * 8; that many nodes do not exist, nor do their values.
    assert [(v["plan.tp"], v["cluster.nodes"], v["plan.dp"]) for v in found] == [
        (1, 8, 8),
        (1, 4, 4),
        (1, 100000, None),
        (8, 8, 1),
        (8, 4, 0),
        (8, 100000, None),
    ]
    assert [v["training.global_batch_size"] for v in found[:2]] == [64, 32]


@pytest.mark.parametrize(
    ("axis", "problem"),
    [
        ("plan.tpp: [1]", "unknown key 'tpp'"),
        ("plan.sharding: [zero1, zeroo]", "unknown sharding 'zeroo'"),
        ("model: [gpt2-xl, gtp3]", "gtp3"),
        ("training.micro_batch_size: [1, 0]", "micro_batch_size"),
    ],
)
def test_wrong_axes_are_errors(tmp_path: Path, axis: str, problem: str) -> None:
    space = space_of(tmp_path, f"scenario: gpt2-xl-one-gpu\naxes:\n  {axis}\n")
    with pytest.raises(SpecError, match=problem) as caught:
        list(space.points())
    assert "axes." in caught.value.where


def test_a_wrong_name_in_a_constraint_is_an_error(tmp_path: Path) -> None:
    text = "scenario: gpt2-xl-one-gpu\naxes: {plan.tp: [1]}\nconstraints: [plan.tq == 1]\n"
    with pytest.raises(SpecError, match=r"'plan.tq' has no value") as caught:
        list(space_of(tmp_path, text).points())
    assert caught.value.where.endswith("constraints[0]")


def test_too_many_combinations_are_refused(sweep: Sweep) -> None:
    many = {f"plan.a{i}": tuple(range(1000)) for i in range(3)}
    with pytest.raises(SpecError, match=f"more than {MAX_COMBINATIONS:,}"):
        list(Space(replace(sweep, axes=many)).points())


def test_added_values_keep_the_base(sweep: Sweep) -> None:
    more = replace(sweep, axes={**sweep.axes, "training.seq_length": (256, 2048)})
    assert Space(more).base_digest() == Space(sweep).base_digest()
    other = replace(sweep, axes={**sweep.axes, "plan.prefetch_depth": (1, 2)})
    assert Space(other).base_digest() != Space(sweep).base_digest()


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(0, 2**128 - 1))
def test_every_point_is_in_one_shard(count: int, number: int) -> None:
    point = f"{number:032x}"
    holders = [i for i in range(1, count + 1) if parse_shard(f"{i}/{count}").holds(point)]
    assert len(holders) == 1


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "-1/2", "1/0", "a/b", "1/2/3", "1.0/2"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(SpecError, match="not a shard"):
        parse_shard(text)


def test_a_shard() -> None:
    assert parse_shard("2/8") == Shard(2, 8)


def test_an_unknown_name_keeps_its_class(tmp_path: Path) -> None:
    space = space_of(tmp_path, "scenario: gpt2-xl-one-gpu\naxes: {stack: [ideal, ideall]}\n")
    with pytest.raises(UnknownNameError, match="ideall"):
        list(space.points())
