"""Errors over published rows on which nothing was fitted stay below their bars.

The bars guard what has been reached, some a little above it; what is wanted, and where each source
stands, is in ``docs/accuracy.md``. A bar is never widened to make a change pass.
"""

from __future__ import annotations

import statistics
from functools import lru_cache

import pytest

from simulator.published.results import RowResult, summarise
from simulator.published.rows import read_rows
from simulator.published.validate import published_paths, validate
from simulator.simulate import simulate
from simulator.spec.load import load_scenario

SWEEPS = ("vtrain", "hage", "bloomA100", "zb")
"""The large sweeps but for ``vtrain1``, whose 790 rows take too long for every test run."""


@lru_cache
def results(source: str) -> tuple[RowResult, ...]:
    (path,) = [path for path in published_paths() if path.stem == source]
    return validate([path], workers=1).rows


OUTLIERS = {"vtrain-021": -0.28}
"""Rows beyond the bar of the worst row: 3.6B on 64 devices with tp 8, dp 8, microbatch 2."""


@lru_cache
def with_experts(source: str) -> frozenset[str]:
    (path,) = [path for path in published_paths() if path.stem == source]
    rows = read_rows(path)
    return frozenset(row.row_id for row in rows if (row.integer("n_experts") or 0) > 1)


def by_row(*sources: str, experts: bool = False) -> dict[str, float]:
    """Errors of test rows, of models without experts or with them."""
    return {
        row.row_id: row.error
        for source in sources
        for row in results(source)
        if row.role == "test"
        and row.error is not None
        and (row.row_id in with_experts(source)) == experts
    }


def errors(*sources: str) -> list[float]:
    return list(by_row(*sources).values())


@pytest.mark.published
@pytest.mark.parametrize(
    ("sources", "rows", "mean", "worst"),
    [
        (("sc21t1", "kort"), 19, 0.04, 0.09),  # Megatron-LM 2021 table 1, Korthikanti 2022 table 5
        (("megascale",), 16, 0.07, 0.14),  # table 2; microbatch and window are not printed
        (("bloomA100",), 66, 0.07, 0.30),
        (("hage",), 175, 0.07, 0.40),
        (("vtrain",), 44, 0.08, 0.25),
        (("zb",), 42, 0.07, 0.14),
        (SWEEPS, 327, 0.065, 0.40),
        (("repo-mosaicml-llm-foundry",), 186, 0.06, 0.35),
        (("repo-nvidia-nemo-megatron-bridge",), 20, 0.08, 0.25),
    ],
)
def test_absolute_step_time_error(
    sources: tuple[str, ...], rows: int, mean: float, worst: float
) -> None:
    found = {row_id: abs(error) for row_id, error in by_row(*sources).items()}
    assert len(found) == rows
    assert sum(found.values()) / rows <= mean
    assert max(error for row_id, error in found.items() if row_id not in OUTLIERS) <= worst


@pytest.mark.published
@pytest.mark.parametrize(
    ("source", "rows", "mean", "median"),
    [
        # Qwen3 30B and 235B. One plan is measured in up to five releases, whose times differ by up
        # to 1.7: the newest have kernels for routing that no constant of ours knows. The bar of the
        # median was widened once, on the day it was set: 0.145 before kernels of experts went into
        # the family that they belong to, which made the measured median 14.7 %.
        ("repo-nvidia-nemo-megatron-bridge", 30, 0.20, 0.15),
        ("repo-nvidia-dgxc-benchmarking", 6, 0.17, 0.16),  # Grok-1, the rows without cp
    ],
)
def test_models_with_experts(source: str, rows: int, mean: float, median: float) -> None:
    """Nothing was fitted on models with experts: constants are those of dense models."""
    found = [abs(error) for error in by_row(source, experts=True).values()]
    assert len(found) == rows
    assert statistics.mean(found) <= mean
    assert statistics.median(found) <= median


@pytest.mark.published
def test_mixtral_reaches_the_rate_that_megatron_core_reports() -> None:
    """468 TFLOP/s on H100 in bf16 (NVIDIA/Megatron-LM, core/transformer/moe/README.md).

    The layout is not printed beside it; ours is a usual one. Even routing and exchanges that never
    wait make it 4 % faster.
    """
    rate = simulate(load_scenario("mixtral-8x7b-64")).flops["megatron_model"]
    assert rate.flops_per_s_per_device / 1e12 == pytest.approx(468, rel=0.06)


@pytest.mark.published
def test_known_outliers_are_where_they_were() -> None:
    """One that comes right, or gets worse, shows here."""
    found = by_row("vtrain")
    assert {row_id: found[row_id] for row_id in OUTLIERS} == pytest.approx(OUTLIERS, abs=0.005)


@pytest.mark.published
def test_frontier_recipes_in_tflops_per_gcd() -> None:
    """175B and 1T, rates under the paper's own FLOP formula: rate = 1 / time."""
    rate_errors = [1 / (1 + error) - 1 for error in errors("frontier")]
    assert len(rate_errors) == 2
    assert sum(map(abs, rate_errors)) / 2 <= 0.12


@pytest.mark.published
def test_megascale_gains_what_it_gained_on_12288_devices() -> None:
    """8.57 s with Megatron-LM, 6.34 s with MegaScale (table 2): 1.35; the text says 1.34."""
    times = {row.row_id: row.predicted_step_time_s or 0.0 for row in results("megascale")}
    assert times["megascale-012"] / times["megascale-016"] == pytest.approx(1.34, abs=0.05)


@pytest.mark.published
def test_order_of_plans_in_a_sweep() -> None:
    """Pairs of runs of the same work that differ by more than 5 %, layouts of LLaMA on A100."""
    ranking = summarise(results("hage")).ranking
    assert ranking.order_right is not None
    assert ranking.order_right >= 0.91


@pytest.mark.published
def test_peak_memory() -> None:
    """Zero-bubble schedules and BLOOM's layouts, whose papers print it."""
    rows = [row for source in ("zb", "bloomA100") for row in results(source) if row.role == "test"]
    found = [abs(row.memory_error) for row in rows if row.memory_error is not None]
    assert len(found) == 84
    assert sum(found) / len(found) <= 0.05
