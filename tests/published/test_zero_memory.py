"""ZeRO's largest models and its super-linear speed-up: memory that more replicas free.

Rajbhandari et al. 2020 (arXiv 1910.02054), table 2, figures 2 and 3. No constant is fitted on
times: how much of the memory the authors' jobs could use follows from their largest models. That
share, 0.84, decides the speed-up: 1.19 at 0.80, 1.11 at 0.84, 1.07 at 0.88, 1.03 at 1.0.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from statistics import mean

import pytest

from simulator.published.mapping import scenario_settings
from simulator.published.rows import PublishedRow, read_rows
from simulator.published.validate import published_paths
from simulator.simulate import memory_of, simulate
from simulator.spec.load import ScenarioSource, load_scenario, parse_scenario
from simulator.spec.overrides import Override
from simulator.whatif.scaling import Curve, scale

pytestmark = pytest.mark.published

USABLE = 0.84
"""Share of the memory that the largest models fill, on average over table 2 (below)."""
MEASURED = {
    # tp: (billions with sharded optimizer states, hidden; without sharding, hidden), 64 replicas
    1: (6.2, 4096, 1.3, 2048),
    2: (12.5, 4096, 2.5, 2560),
    4: (25.0, 6144, 5.0, 4096),
    8: (50.0, 8192, 10.0, 4096),
    16: (100.0, 8192, 20.0, 8192),
}
"""Largest models measured. The widths are not printed there: those of the paper's other tables."""
PUBLISHED_SIZES = (16, 48, 48, 64)
DEVICES = (64, 128, 256, 400)


def filled(tp: int, billions: float, hidden: int, sharding: str) -> float:
    """Share of the memory that a model of so many parameters takes, one sequence per microbatch."""
    layers = max(1, round(billions * 1e9 / (12 * hidden**2)))
    model = (
        f"{{num_layers: {layers}, hidden_size: {hidden}, num_attention_heads: 32, "
        "vocab_size: 51200, max_position_embeddings: 1024}"
    )
    scenario = load_scenario(
        "zero-100b",
        [
            f"model={model}",
            f"plan={{tp: {tp}, dp: 64, sharding: {sharding}}}",
            f"cluster.nodes={tp * 4}",
            "training.micro_batch_size=1",
            "training.global_batch_size=64",
        ],
    )
    memory = memory_of(scenario)
    return memory.peak_bytes / memory.capacity_bytes


def test_largest_models_fill_five_sixths_of_the_memory() -> None:
    """All ten between 80 and 90 %: the rest is buffers and gaps, which its section 6 is about."""
    sharded = [filled(tp, row[0], row[1], "zero1") for tp, row in MEASURED.items()]
    whole = [filled(tp, row[2], row[3], "ddp") for tp, row in MEASURED.items()]
    assert all(0.80 < share < 0.90 for share in (*sharded, *whole))
    assert mean((*sharded, *whole)) == pytest.approx(USABLE, abs=0.01)


@cache
def row(row_id: str) -> PublishedRow:
    (path,) = (path for path in published_paths() if path.stem == "zero")
    return next(row for row in read_rows(path) if row.row_id == row_id)


def source(row_id: str) -> ScenarioSource:
    settings, _ = scenario_settings(row(row_id))
    return ScenarioSource(settings)


@cache
def fitted(share: float) -> Curve:
    how = Override("training.auto_fit", {"memory_share": share})
    batch = [Override(f"training.{key}_batch_size", "auto_fit") for key in ("global", "micro")]
    (curve,) = scale(source("zero-019").having(*batch, how), DEVICES, ["largest"])
    return curve


def test_fitted_batches_are_those_that_the_authors_ran() -> None:
    """14, 41, 54, 59 for 16, 48, 48, 64: within 15 %, as batches were chosen in steps of 16."""
    sizes = [point.micro_batch_size for point in fitted(USABLE).points]
    assert sizes == pytest.approx(PUBLISHED_SIZES, rel=0.15)


def test_speed_up_is_more_than_linear() -> None:
    """Above 1.1 per device from 64 to 400, by a hair and by the share of memory; published 1.43.

    The share comes from the largest models alone, but it decides: at 0.88, five points more, the
    gain is 1.07, and with all of the memory, where batches are large everywhere, 1.03. A held batch
    loses.
    """
    speeds = [point.efficiency for point in fitted(USABLE).points]
    assert speeds == sorted(speeds)
    assert speeds[-1] > 1.10
    assert fitted(0.80).points[-1].efficiency == pytest.approx(1.194, abs=0.01)
    assert fitted(0.88).points[-1].efficiency == pytest.approx(1.066, abs=0.01)
    assert fitted(1.0).points[-1].efficiency == pytest.approx(1.03, abs=0.01)
    (held,) = scale(source("zero-019"), DEVICES, ["weak"])
    assert all(point.efficiency < 1.0 for point in held.points[1:])


def test_the_rest_of_the_published_speed_up_is_one_slow_point() -> None:
    """On 64 devices the paper is 37 % below the prediction at its own batch, else 7 to 17 %."""
    gaps: list[float] = []
    for row_id in ("zero-019", "zero-020", "zero-021", "zero-022"):
        scenario = source(row_id).scenario()
        rate = simulate(scenario, levers=False).flops["megatron_hardware"].flops_per_s_per_device
        gaps.append(1 - (row(row_id).number("tflops_per_gpu") or 0.0) * 1e12 / rate)
    assert gaps[0] == pytest.approx(0.37, abs=0.03)
    assert all(0.05 < gap < 0.20 for gap in gaps[1:])


def test_zero_100b() -> None:
    """38.9 TFLOP/s per device, read from a bar, within 12 %; 15 PFLOP/s on 400 in the abstract."""
    settings, _ = scenario_settings(row("zero-010"))
    report = simulate(parse_scenario(settings, "zero-010", Path()), levers=False)
    rate = report.flops["megatron_hardware"].flops_per_s_per_device
    assert rate == pytest.approx(38.9e12, rel=0.12)
    assert rate * 400 == pytest.approx(15e15, rel=0.12)
