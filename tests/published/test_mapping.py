from collections.abc import Callable

import pytest

from simulator.published.mapping import Case, Skipped, map_row
from simulator.published.rows import PublishedRow

MakeRow = Callable[..., PublishedRow]


def case_of(row: PublishedRow) -> Case:
    case = map_row(row)
    assert isinstance(case, Case), case
    return case


def test_complete_row(make_row: MakeRow) -> None:
    case = case_of(make_row(ffn="4096", tp="2", dp="4"))
    scenario = case.scenario
    assert scenario.name == "mine/r1"
    assert scenario.model.num_layers == 24
    assert (scenario.plan.tp, scenario.plan.dp, scenario.plan.sharding.name) == (2, 4, "ddp")
    assert scenario.training.micro_batch_size == 4
    assert scenario.stack.attention == "unfused"
    assert scenario.cluster.name == "dgx-a100-cluster"
    assert case.notes == ()
    assert (case.step_time_s, case.fits) == (0.5, True)


def test_what_was_measured_does_not_change_the_scenario(make_row: MakeRow) -> None:
    """A published answer is never an input."""
    measured = case_of(make_row(tflops_per_gpu="50", mfu_pct="40", memory_gb="33", fits="1"))
    blind = case_of(make_row(step_time_s="", role="calibration"))
    assert measured.scenario == blind.scenario
    assert blind.step_time_s is None


def test_broken_rule_is_the_reason(make_row: MakeRow) -> None:
    skipped = map_row(make_row(tp="8", dp="1", heads="4"))
    assert isinstance(skipped, Skipped)
    assert skipped.reason.startswith("num_attention_heads 4 ")
    assert skipped.reason.endswith("is not divisible by tp = 8")


def test_failure_that_was_not_memory(make_row: MakeRow) -> None:
    failed = make_row(fits="0", note="trial 1; result=Kernel not available", step_time_s="")
    assert isinstance(map_row(failed), Skipped)
    out_of_memory = case_of(make_row(fits="0", note="result=OOM Error", step_time_s=""))
    assert out_of_memory.fits is False


def test_distillation_runs_a_second_model(make_row: MakeRow) -> None:
    skipped = map_row(make_row(model="gpt3_modelopt_distill_resume"))
    assert isinstance(skipped, Skipped)
    assert "second model" in skipped.reason


def test_time_of_a_layer_is_no_step(make_row: MakeRow) -> None:
    skipped = map_row(make_row(note="iteration_time_s holds fwd+bwd of ONE layer"))
    assert isinstance(skipped, Skipped)
    assert skipped.reason == "one layer was timed, not a step"


MEGASCALE = {
    "file": "megascale3",
    "framework": "Megatron-LM -> MegaScale",
    "year": "2024",
    "flash_attn": "",
    "n_gpus": "16",
    "dp": "16",
    "global_batch": "64",
}


@pytest.mark.parametrize(
    ("note", "parallel", "window", "overlaps", "stack"),
    [
        ("baseline Megatron-LM; x", False, None, (False, False, False), "megatron-lm-2023"),
        ("+parallel transformer block; x", True, None, (False,) * 3, "megatron-lm-2023"),
        ("+sliding window attention; x", True, 1024, (False,) * 3, "megatron-lm-2023"),
        ("+TP overlap; x", True, 1024, (True, False, False), "megatron-lm-2023"),
        ("+PP overlap; x", True, 1024, (True, True, False), "megatron-lm-2023"),
        ("+DP overlap; x", True, 1024, (True, True, True), "megatron-lm-2023"),
        ("+efficient operators; x", True, 1024, (True, True, True), "megascale"),
        ("+misc optimizations; x", True, 1024, (True, True, True), "megascale"),
        ("+LAMB batch x3; x", True, 1024, (True, True, True), "megascale"),
    ],
)
def test_megascale_ablation(
    make_row: MakeRow,
    note: str,
    parallel: bool,
    window: int | None,
    overlaps: tuple[bool, bool, bool],
    stack: str,
) -> None:
    scenario = case_of(make_row(**MEGASCALE, note=note)).scenario
    plan = scenario.plan
    assert scenario.model.parallel_block is parallel
    assert scenario.model.sliding_window == window
    assert (plan.overlap_tp, plan.overlap_pp, plan.overlap_dp) == overlaps
    assert scenario.stack.name == stack


def test_megascale_reads_batches_beside_compute_once_it_has_its_data_pipeline(
    make_row: MakeRow,
) -> None:
    waits_s = {
        note: case_of(make_row(**MEGASCALE, note=note)).scenario.stack.batch_overhead_s
        for note in ("+DP overlap; x", "+efficient operators; x", "+misc optimizations; x")
    }
    assert list(waits_s.values()) == [0.64e-3, 0.64e-3, 0.0]


def test_megascale_says_that_the_window_is_assumed(make_row: MakeRow) -> None:
    case = case_of(make_row(**MEGASCALE | {"framework": "MegaScale"}, zero_stage=""))
    assert "sliding window not published: 1024" in case.notes
    assert case.scenario.plan.sharding.name == "zero2"
