"""Scaling curves: what is held, what is left out and why, and the numbers of a point."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import PlanError, SpecError
from simulator.report.report import TIME_TERMS
from simulator.simulate import simulate
from simulator.spec.load import ScenarioSource
from simulator.spec.overrides import parse_override
from simulator.whatif.scaling import Curve, Mode, ScalePoint, mode_named, scale
from tests.strategies import scenario_settings
from tests.whatif.made import small

COUNTS = (4, 8, 16)


def curve(mode: Mode, *overrides: str, counts: tuple[int, ...] = COUNTS) -> Curve:
    (found,) = scale(small(*overrides), counts, [mode])
    return found


def test_weak_scaling_holds_the_sequences_of_a_replica() -> None:
    points = curve("weak").points
    assert [(p.devices, p.dp, p.global_batch_size) for p in points] == [
        (4, 4, 32),
        (8, 8, 64),
        (16, 16, 128),
    ]
    assert {(p.micro_batch_size, p.num_microbatches) for p in points} == {(4, 2)}


def test_strong_scaling_holds_the_global_batch() -> None:
    points = curve("strong", "training.micro_batch_size=1").points
    assert [(p.dp, p.global_batch_size) for p in points] == [(4, 32), (8, 32), (16, 32)]
    assert [p.num_microbatches for p in points] == [8, 4, 2]


def test_a_point_is_what_run_says_of_its_scenario() -> None:
    """8 devices are one node, 16 are two, as ``run --set`` would have it."""
    eight, sixteen = curve("weak", counts=(8, 16)).points
    for point, nodes in ((eight, 1), (sixteen, 2)):
        job = small(
            f"cluster.nodes={nodes}",
            f"plan.dp={point.dp}",
            f"training.global_batch_size={point.global_batch_size}",
        )
        assert point.report.step_time_s == simulate(job.scenario()).step_time_s


def test_the_first_point_is_the_measure_of_the_others() -> None:
    for mode in ("weak", "strong"):
        first, *others = curve(mode, "training.micro_batch_size=1").points
        assert (first.efficiency, first.marginal) == (1.0, None)
        assert set(first.losses.values()) == {0.0}
        for point in others:
            assert sum(point.losses.values()) == pytest.approx(1 - point.efficiency, abs=1e-12)
            assert point.losses.keys() == set(TIME_TERMS)


def test_marginal_efficiency_worked_by_hand() -> None:
    first, then = curve("strong", "training.micro_batch_size=1", counts=(4, 16)).points
    gained = then.report.tokens_per_s - first.report.tokens_per_s
    assert then.marginal == pytest.approx(gained / 12 / (first.report.tokens_per_s / 4))


def points_with(*speeds: float) -> tuple[ScalePoint, ...]:
    """Points on 1, 2, 3 ... devices with these marginal efficiencies."""
    template = curve("weak", counts=(4,)).points[0]
    return tuple(
        replace(template, devices=n, marginal=None if n == 1 else speed)
        for n, speed in enumerate(speeds, 1)
    )


@pytest.mark.parametrize(
    ("marginals", "pays_to", "stops_at"),
    [
        ((0.0, 0.9, 0.6, 0.4), 3, 4),
        ((0.0, 0.9, 0.5, 0.5), 4, None),  # at the bar it still pays
        ((0.0, 0.3, 0.9), 1, 2),  # the first that does not pay ends it
        ((0.0,), 1, None),
    ],
)
def test_where_it_stops_paying(
    marginals: tuple[float, ...], pays_to: int, stops_at: int | None
) -> None:
    found = Curve("weak", points_with(*marginals), (), pays=0.5)
    assert found.pays_to is not None
    assert found.pays_to.devices == pays_to
    assert (found.stops_at.devices if found.stops_at else None) == stops_at


def test_an_empty_curve_pays_nowhere() -> None:
    found = Curve("weak", (), (), pays=0.5)
    assert (found.pays_to, found.stops_at) == (None, None)


def test_what_cannot_be_run_is_listed_with_the_reason() -> None:
    found = curve("strong", "plan.tp=5", "plan.dp=1", counts=(3, 5, 15, 71680))
    reasons = {out.devices: out.reason for out in found.left_out}
    assert [point.devices for point in found.points] == [5]
    assert reasons[3] == "3 devices are not divisible by tp * cp * pp = 5 * 1 * 1 = 5"
    assert "global_batch_size 32 is not divisible by dp * micro_batch_size" in reasons[15]
    assert "nodes asked of cluster 'selene'" in reasons[71680]


def test_what_does_not_fit_is_left_out_unless_memory_is_ignored() -> None:
    source = small("training.micro_batch_size=8", "training.seq_length=1024")
    huge = source.having(parse_override("model.num_layers=200"))
    (found,) = scale(huge, [4, 8], ["weak"])
    assert found.points == ()
    assert all(out.reason.startswith("does not fit: ") for out in found.left_out)
    (found,) = scale(huge, [4, 8], ["weak"], ignore_memory=True)
    assert [point.devices for point in found.points] == [4, 8]


def test_points_that_several_curves_share_are_simulated_once() -> None:
    """4 devices with batch 32 are on both curves: 5 jobs for 6 points."""
    told: list[tuple[str, int, int | None]] = []
    source, modes = small("training.micro_batch_size=1"), ("weak", "strong")
    scale(source, COUNTS, modes, progress=lambda *what: told.append(what))
    prepared = [("Preparing", done, 6) for done in range(7)]
    assert told == prepared + [("Simulating", done, 5) for done in range(6)]


def test_a_whole_description_of_a_cluster_grows_too() -> None:
    source = small("cluster={extends: selene, num_nodes: {value: 64, source: test}}")
    points = scale(source, [4, 16], ["weak"])[0].points
    assert [p.report.step_time_s for p in points] == [
        p.report.step_time_s for p in curve("weak", counts=(4, 16)).points
    ]


def test_a_wrong_scenario_is_an_error() -> None:
    with pytest.raises(PlanError, match="is not divisible"):
        scale(small("training.global_batch_size=30"), [4])


def test_modes_by_name() -> None:
    assert mode_named("both") == ("weak", "strong")
    assert mode_named("largest") == ("largest",)
    with pytest.raises(SpecError, match="unknown mode"):
        mode_named("strongest")


@settings(max_examples=20)
@given(scenario_settings(max_ranks=16), st.sampled_from(["weak", "strong"]))
def test_losses_sum_to_what_is_lost(data: dict[str, object], mode: Mode) -> None:
    source = ScenarioSource(data)
    replica = source.scenario().plan
    unit = replica.tp * replica.pp
    # Its own number of devices divides the batch; others need not.
    devices = {unit, 2 * unit, replica.num_devices}
    (found,) = scale(source, sorted(devices), [mode], ignore_memory=True)
    for point in found.points:
        assert sum(point.losses.values()) == pytest.approx(1 - point.efficiency, abs=1e-9)
    if found.points:
        assert found.points[0].efficiency == 1.0
    assert len(found.points) + len(found.left_out) == len(devices)
