"""Published scaling, from mechanisms: no constant is fitted on any of it.

Frontier: Dash et al. 2023 (arXiv 2312.12705) report weak scaling of 100 % for 175B on 1,024 and 1T
on 3,072 GCDs, and strong scaling of 89 % and 87 %. Their abstract names neither the first point nor
the batch of the strong scaling. MegaScale: Jiang et al. 2024 (arXiv 2402.15627), table 2.
"""

from functools import cache

import pytest

from simulator.published.mapping import scenario_settings
from simulator.published.rows import PublishedRow, read_rows
from simulator.published.validate import published_paths
from simulator.spec.load import ScenarioSource, scenario_source
from simulator.whatif.scaling import Curve, Mode, scale
from simulator.whatif.terms import largest_loss

pytestmark = pytest.mark.published

FRONTIER = {
    "frontier-175b": (128, 256, 512, 1024),
    "frontier-1t": (1024, 1536, 3072),
}
"""GCDs, from the fewest on which it fits: 64 and 512 have too little memory."""
PUBLISHED_STRONG = {"frontier-175b": 0.89, "frontier-1t": 0.87}


@cache
def frontier(name: str, mode: Mode, batch: int | None = None) -> Curve:
    overrides = [f"training.global_batch_size={batch}"] if batch else []
    (curve,) = scale(scenario_source(name, overrides), FRONTIER[name], [mode])
    assert not curve.left_out
    return curve


@pytest.mark.parametrize("name", FRONTIER)
def test_frontier_weak_scaling(name: str) -> None:
    """640 and 1,600 sequences per replica: published 100 %; 97 % is the bar."""
    points = frontier(name, "weak").points
    assert all(point.efficiency >= 0.97 for point in points)
    # What is lost is the reduction, which takes more ranks and hides behind nothing.
    assert largest_loss(points[-1].losses) == "dp_comm"


@pytest.mark.parametrize(
    ("name", "efficiency", "bubble"),
    [("frontier-175b", 0.979, 0.019), ("frontier-1t", 0.975, 0.024)],
)
def test_frontier_strong_scaling_at_the_batch_of_the_full_run(
    name: str, efficiency: float, bubble: float
) -> None:
    """10,240 and 9,600 sequences: the bubble is all that counts, and it is small.

    By hand, 175B: (p - 1) slots of bubble on m microbatches are 15 / 5,120 of the work on 128 GCDs
    and 15 / 640 on 1,024, so that efficiency is (1 + 15 / 5,120) / (1 + 15 / 640) = 98.0 %; 1T,
    1,024 to 3,072: (1 + 63 / 4,800) / (1 + 63 / 1,600) = 97.5 %. The rest is the reduction.
    """
    last = frontier(name, "strong").points[-1]
    # A point of a percent: what the constants of the network may move it by.
    assert last.efficiency == pytest.approx(efficiency, abs=0.01)
    assert last.losses["bubble"] == pytest.approx(bubble, abs=0.005)
    assert largest_loss(last.losses) == "bubble"
    assert last.efficiency > PUBLISHED_STRONG[name] + 0.05  # the published loss is not explained


@pytest.mark.parametrize(
    ("name", "batches"), [("frontier-175b", (2560, 1280)), ("frontier-1t", (2400, 1536))]
)
def test_frontier_strong_scaling_falls_with_the_batch(name: str, batches: tuple[int, int]) -> None:
    """The mechanisms reach the published 89 % and 87 % at some 1,600 sequences in all.

    An inference about the batch, which is not published; it is no input of any prediction.
    """
    large, small = (frontier(name, "strong", batch).points[-1].efficiency for batch in batches)
    assert small - 0.005 <= PUBLISHED_STRONG[name] <= large


def test_frontiers_own_rate_leaves_no_room_for_a_longer_step() -> None:
    """At 10,240 sequences, 89 % needs a tenth of the last step to be independent of the batch.

    69.2 TFLOP/s per GCD (36.14 % of 191.5) is the paper's rate of that very step; without such a
    share the predicted rate is already no higher than a few percent above it.
    """
    report = frontier("frontier-175b", "strong").points[-1].report
    rate = report.flops["megatron_hardware"].flops_per_s_per_device
    assert rate / 69.2e12 - 1 < 0.05


MEGASCALE = {
    "Megatron-LM, batch 768": range(1, 5),
    "MegaScale, batch 768": range(5, 9),
    "Megatron-LM, batch 6,144": range(9, 13),
    "MegaScale, batch 6,144": range(13, 17),
}


@cache
def megascale(name: str) -> tuple[Curve, tuple[PublishedRow, ...]]:
    """The curve from the scenario of the first row of a series, and the rows."""
    (path,) = (path for path in published_paths() if path.stem == "megascale")
    rows = {row.row_id: row for row in read_rows(path)}
    series = tuple(rows[f"megascale-{index:03d}"] for index in MEGASCALE[name])
    settings, _ = scenario_settings(series[0])
    devices = [int(row.number("n_gpus") or 0) for row in series]
    (curve,) = scale(ScenarioSource(settings), devices, ["strong"])
    assert [point.devices for point in curve.points] == devices
    return curve, series


def published_efficiency(row: PublishedRow, first: PublishedRow) -> float:
    """GPU-seconds of the first row over those of a row: the batch is the same."""
    used = [(r.number("step_time_s") or 0.0) * (r.number("n_gpus") or 0.0) for r in (first, row)]
    return used[0] / used[1]


@pytest.mark.parametrize("name", MEGASCALE)
def test_megascale_step_times_along_the_curve(name: str) -> None:
    """Within 10 % each; a curve gives the steps of the rows themselves."""
    curve, rows = megascale(name)
    for point, row in zip(curve.points, rows, strict=True):
        assert point.report.step_time_s == pytest.approx(row.number("step_time_s"), rel=0.10)


@pytest.mark.parametrize(
    ("name", "published", "tolerance"),
    [("MegaScale, batch 6,144", 0.933, 0.03), ("Megatron-LM, batch 6,144", 0.847, 0.04)],
)
def test_megascale_strong_scaling_to_12288(name: str, published: float, tolerance: float) -> None:
    """3,072 to 12,288 GPUs. Tolerances: 0.3 s, as far as identical jobs differ in figure 6."""
    curve, rows = megascale(name)
    assert published_efficiency(rows[-1], rows[0]) == pytest.approx(published, abs=0.001)
    assert curve.points[-1].efficiency == pytest.approx(published, abs=tolerance)


@pytest.mark.parametrize("name", ["MegaScale, batch 768", "Megatron-LM, batch 768"])
def test_megascale_strong_scaling_to_1024_is_too_good(name: str) -> None:
    """A known gap: 6 to 7 points at 1,024 GPUs, 0.8 s a step that no term of the model has.

    It is in both systems, so it is not the reduction, which MegaScale overlaps.
    """
    curve, rows = megascale(name)
    gap = curve.points[-1].efficiency - published_efficiency(rows[-1], rows[0])
    assert 0.03 < gap < 0.08


def test_megascale_eats_less_than_megatron() -> None:
    """What its overlap is for: reductions take less, and the order of the systems is right."""
    overlapped, _ = megascale("MegaScale, batch 6,144")
    plain, _ = megascale("Megatron-LM, batch 6,144")
    for ours, theirs in zip(overlapped.points[1:], plain.points[1:], strict=True):
        assert ours.losses["dp_comm"] < theirs.losses["dp_comm"] / 2
        assert ours.efficiency > theirs.efficiency
    assert largest_loss(plain.points[-1].losses) == "dp_comm"
