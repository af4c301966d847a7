"""Grids of sequence length, recomputation, sharding and microbatch."""

import pytest

from simulator.errors import PlanError, SpecError, UnknownNameError
from simulator.planning.tradeoff import Axes, Point, tradeoff
from simulator.planning.variant import Job
from simulator.simulate import simulate
from simulator.spec.load import load_scenario

JOB = Job("llama2-7b-fsdp")


def test_without_axes_it_is_the_scenario() -> None:
    (point,) = tradeoff(JOB, Axes())
    report = simulate(load_scenario("llama2-7b-fsdp"))
    assert point.prediction is not None
    assert point.prediction.step_time_s == report.step_time_s
    assert point.prediction.peak_bytes == report.memory.peak_bytes
    assert point.best


def test_every_combination_once_in_order() -> None:
    told: list[tuple[str, int, int | None]] = []
    axes = Axes((4096, 8192), ("none", "full"), (), (1, 2))
    points = tradeoff(JOB, axes, lambda *what: told.append(what))
    keys = [(p.seq_length, p.recompute, p.micro_batch_size) for p in points]
    assert keys == sorted(keys, key=lambda k: (k[0], ("none", "full").index(k[1]), k[2]))
    assert len(set(keys)) == 8
    assert told == [("Simulating", done, 8) for done in range(9)]


def test_recomputing_and_longer_sequences_do_what_they_must() -> None:
    points = tradeoff(JOB, Axes((4096, 8192), ("none", "full")))
    found = {(p.seq_length, p.recompute): p.prediction for p in points}
    for length in (4096, 8192):
        kept, again = found[length, "none"], found[length, "full"]
        assert kept is not None
        assert again is not None
        assert again.step_time_s > kept.step_time_s
        assert again.peak_bytes < kept.peak_bytes
    short, long = found[4096, "none"], found[8192, "none"]
    assert short is not None
    assert long is not None
    assert long.peak_bytes > short.peak_bytes
    assert long.tokens_per_s < short.tokens_per_s


def test_layers_that_recompute_beside_those_that_swap() -> None:
    """Neither all nor none is fastest: copies hide behind the passes only as far as those last."""
    job = Job("fuyou-13b-rtx4090", ("model.num_layers=16", "training.recompute=full"))
    points = tradeoff(job, Axes(recompute_layers=True))
    some = [f"full, {count} layers" for count in range(2, 16, 2)]
    assert [p.recompute for p in points] == ["none", *some, "full"]
    times = [p.prediction.step_time_s for p in points if p.prediction]
    assert len(times) == 9
    assert min(times) < min(times[0], times[-1])
    half = simulate(load_scenario(job.path, (*job.overrides, "training.recompute.num_layers=8")))
    assert times[4] == half.step_time_s


def test_layers_are_those_of_a_stage_and_modes_stay_beside_them() -> None:
    job = Job("llama2-7b-fsdp", ("plan.pp=8", "plan.dp=16", "plan.sharding=zero1"))
    points = tradeoff(job, Axes(recompute=("selective",), recompute_layers=True))
    some = [f"full, {count} layers" for count in (1, 2, 3)]  # of 32 / 8
    assert [p.recompute for p in points] == ["selective", "none", *some, "full"]


@pytest.mark.parametrize(
    ("own", "name"),
    [
        ("selective", "selective"),
        ("alternate", "alternate"),
        ("{mode: full, num_layers: 3}", "full, 3 layers"),
    ],
)
def test_the_jobs_own_way_stays_beside_numbers_of_layers(own: str, name: str) -> None:
    """32 layers by eighths are 4, 8, ...: neither of these is among them."""
    job = Job("llama2-7b-fsdp", (f"training.recompute={own}",))
    first, *others = tradeoff(job, Axes(recompute_layers=True))
    assert (first.recompute, len(others)) == (name, 9)
    assert first.prediction is not None
    assert first.prediction.step_time_s == simulate(job.load()).step_time_s


def test_what_full_keeps_is_kept_for_every_number_of_layers() -> None:
    text = "training.recompute={{mode: full, {}keeps_qkv: true}}"
    points = tradeoff(Job("llama2-7b-fsdp", (text.format(""),)), Axes(recompute_layers=True))
    found = {p.recompute: p.prediction.step_time_s for p in points if p.prediction}
    for name, layers in (("full, 16 layers", "num_layers: 16, "), ("full", "")):
        job = Job("llama2-7b-fsdp", (text.format(layers),))
        assert found[name] == simulate(job.load()).step_time_s


def test_the_same_tokens_by_hand() -> None:
    """256 sequences of 4,096 are 2^20 tokens: 128 of 8,192."""
    points = tradeoff(JOB, Axes((4096, 8192), micro_batch_sizes=(1,), same_tokens=True))
    assert [p.global_batch_size for p in points] == [256, 128]
    assert {p.prediction.tokens_per_step for p in points if p.prediction} == {2**20}


def dominated(point: Point, points: tuple[Point, ...]) -> bool:
    own = point.prediction
    assert own is not None
    return any(
        p.prediction.tokens_per_s >= own.tokens_per_s and p.prediction.peak_bytes < own.peak_bytes
        for p in points
        if p.prediction and p.prediction.fits and p.seq_length == point.seq_length
    )


def test_marked_points_are_those_that_no_other_beats() -> None:
    points = tradeoff(JOB, Axes((4096, 16384), ("none", "full"), ("zero1", "zero3"), (1, 2)))
    fitting = [p for p in points if p.prediction and p.prediction.fits]
    assert any(p.best for p in fitting)
    assert any(not p.best for p in fitting)
    assert all(p.best != dominated(p, points) for p in fitting)
    assert not any(p.best for p in points if p not in fitting)


def test_what_cannot_run_says_why() -> None:
    _, point = tradeoff(Job("gpt3-175b-a100-64"), Axes((2048, 4096)))
    assert point.prediction is None
    assert "learned positions" in point.reason
    with pytest.raises(PlanError, match=r"4096 exceeds.*\(and 1 more that cannot run\)"):
        tradeoff(Job("gpt3-175b-a100-64"), Axes((4096, 8192)))


def test_misspelt_names_are_refused_before_anything_runs() -> None:
    told: list[tuple[str, int, int | None]] = []
    with pytest.raises(UnknownNameError, match="recompute mode"):
        tradeoff(JOB, Axes(recompute=("some",)), lambda *what: told.append(what))
    with pytest.raises(UnknownNameError, match="sharding"):
        tradeoff(JOB, Axes(sharding=("zero9",)), lambda *what: told.append(what))
    with pytest.raises(SpecError, match="more than 2,000"):
        tradeoff(JOB, Axes(tuple(range(1, 2002))), lambda *what: told.append(what))
    assert told == []
