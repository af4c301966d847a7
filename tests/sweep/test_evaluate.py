from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from simulator.api import load_scenario, simulate
from simulator.errors import SpecError, UnknownNameError
from simulator.spec.sweep import Sweep, load_sweep
from simulator.sweep import evaluate
from simulator.sweep.columns import Row, columns_of
from simulator.sweep.evaluate import Job, evaluate_points
from simulator.sweep.metrics import METRICS, USUAL, chosen_metrics
from simulator.sweep.points import Space

SWEEP = """
scenario: gpt3-175b-a100-64
axes:
  plan.tp: [8, 4, 5]
  training.recompute: [selective, {mode: full, num_layers: 2}, full]
  plan.sequence_parallel: [true]
derive: {plan.dp: devices // (plan.tp * plan.pp)}
constraints: ["not (plan.tp == 5 and training.recompute.mode == 'full')"]
"""


def rows_of(sweep: Sweep, metrics: tuple[str, ...] = USUAL) -> list[Row]:
    points = list(Space(sweep).points())
    columns = columns_of(sweep, metrics, points)
    return evaluate_points(Job(sweep.base, sweep.base_dir, columns, metrics), points)


@pytest.fixture
def plans(tmp_path: Path) -> Sweep:
    path = tmp_path / "plans.yaml"
    path.write_text(SWEEP, encoding="utf-8")
    return load_sweep(path)


def test_rows_are_what_run_says(plans: Sweep) -> None:
    rows = rows_of(plans)
    assert [(row["tp"], row["recompute"], row["status"]) for row in rows] == [
        (8, "selective", "ok"),
        (8, '{"mode": "full", "num_layers": 2}', "ok"),
        (8, "full", "ok"),
        (4, "selective", "does not fit"),
        (4, '{"mode": "full", "num_layers": 2}', "does not fit"),
        (4, "full", "does not fit"),
        (5, "selective", "infeasible"),
    ]
    report = simulate(load_scenario("gpt3-175b-a100-64", ["plan.tp=4", "plan.dp=2"]))
    row = rows[3]
    assert (row["dp"], row["sequence_parallel"], row["devices"]) == (2, True, 64)
    assert row["step_time_s"] == report.step_time_s
    assert row["peak_memory_bytes"] == report.memory.peak_bytes
    assert "GB of 84.99 GB on pipeline rank" in str(row["reason"])
    assert "not divisible by tp = 5" in str(rows[-1]["reason"])
    assert rows[-1]["step_time_s"] is None
    assert {tuple(one) for one in rows} == {tuple(rows[0])}  # the same columns in every row


@pytest.mark.parametrize("bug", [ZeroDivisionError("by nothing"), RecursionError("too deep")])
def test_a_bug_is_a_row_too(plans: Sweep, monkeypatch: pytest.MonkeyPatch, bug: Exception) -> None:
    monkeypatch.setattr(evaluate, "simulate", failing(bug))
    row = rows_of(plans)[0]
    assert (row["status"], row["reason"]) == ("error", f"{type(bug).__name__}: {bug}")


@pytest.mark.parametrize("trouble", [MemoryError("full"), OSError(5, "disk")])
def test_trouble_of_the_worker_makes_no_row(
    plans: Sweep, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    monkeypatch.setattr(evaluate, "simulate", failing(trouble))
    with pytest.raises(type(trouble)):
        rows_of(plans)


def failing(error: Exception) -> Callable[..., object]:
    def fail(*_: object, **__: object) -> object:
        raise error

    return fail


def test_every_metric_is_a_number_of_a_report() -> None:
    report = simulate(load_scenario("gpt3-175b-a100-64"))
    values = {name: metric(report) for name, metric in METRICS.items()}
    assert all(isinstance(value, float) and math.isfinite(value) for value in values.values())
    terms = [values[f"{term}_s"] for term in report.time]
    assert sum(terms) == pytest.approx(values["step_time_s"], rel=1e-9)
    assert values["memory_headroom_bytes"] == pytest.approx(84.99e9 - 61.46e9, rel=1e-3)


def test_metrics_are_chosen_by_name() -> None:
    assert chosen_metrics(None, "f") == USUAL
    assert chosen_metrics(["mfu"], "f") == ("mfu",)
    with pytest.raises(UnknownNameError, match="mfuu"):
        chosen_metrics(["mfuu"], "f")
    with pytest.raises(SpecError, match="named twice"):
        chosen_metrics(["mfu", "mfu"], "f")


def test_columns_have_short_names_where_these_are_unique(plans: Sweep) -> None:
    axes = {
        "plan.overlap.dp": (True,),
        "training.seq_length": (1, None),
        "model": ("a",),
        "plan.x": (1.5, 2),
        "plan.y": (1, True),
        "training.mfu": (1,),
    }
    sweep = replace(plans, axes=axes)
    points = list(Space(plans).points())
    columns = {c.path: (c.name, c.kind) for c in columns_of(sweep, ("mfu",), points)}
    assert columns["plan.overlap.dp"] == ("plan_overlap_dp", "bool")  # plan.dp is derived
    assert columns["plan.dp"] == ("plan_dp", "int")
    assert columns["training.seq_length"] == ("seq_length", "int")
    assert columns["model"] == ("model", "text")
    assert columns["plan.x"] == ("x", "float")
    assert columns["plan.y"] == ("y", "text")
    assert columns["training.mfu"] == ("training_mfu", "int")


FITTED = """
scenario: gpt2-xl-one-gpu
axes: {model.num_layers: [12, 48], training.micro_batch_size: [auto_fit, 1]}
"""


def test_points_whose_microbatch_is_fitted(tmp_path: Path) -> None:
    """The batch is held; the largest microbatch fills more of the memory than the smallest."""
    path = tmp_path / "fitted.yaml"
    path.write_text(FITTED, encoding="utf-8")
    rows = rows_of(load_sweep(path))
    assert [row["status"] for row in rows] == ["ok"] * 4
    peaks = [float(str(row["peak_memory_bytes"])) for row in rows]
    assert peaks[0] > peaks[1]
    assert peaks[2] > peaks[3]
