"""Stacks: all shipped ones load, extend one another, and name the source of every figure."""

from pathlib import Path

import pytest

from simulator.errors import SpecError
from simulator.spec.stacks import load_stack
from simulator.spec.yaml_file import list_data


@pytest.mark.parametrize("name", list_data("stacks"))
def test_shipped_stacks_load(name: str) -> None:
    stack = load_stack(name)
    assert stack.name == name
    assert stack.gemm_scale > 0


def test_the_ideal_stack_loses_nothing() -> None:
    stack = load_stack("ideal")
    assert stack.gemm_scale == stack.memory_scale == stack.attention_scale == 1
    assert stack.network_scale == stack.blocking_p2p_scale == 1
    assert stack.layer_overhead_s == stack.microbatch_overhead_s == stack.step_overhead_s == 0
    assert stack.batch_overhead_s == 0
    assert stack.framework_bytes == stack.communicator_bytes == stack.fragmentation == 0
    assert stack.assumptions == ()


def test_documented_switches() -> None:
    sc21, korthikanti = load_stack("megatron-lm-2021"), load_stack("megatron-lm-2022")
    assert (sc21.attention, sc21.overlap_dp, sc21.overlap_tp) == ("unfused", False, False)
    assert not sc21.backward_tp_overlap
    assert korthikanti.backward_tp_overlap
    megascale = load_stack("megascale")
    assert megascale.attention == "flash2"
    assert (megascale.overlap_dp, megascale.overlap_tp, megascale.overlap_pp) == (True, True, True)


@pytest.mark.parametrize(
    ("name", "waits"),
    [
        ("megatron-lm-2021", True),
        ("megatron-lm-2023", True),
        ("megascale", False),
        ("megatron-core-2024", False),
        ("nemo-2024", False),
        ("megatron-deepspeed-2021", True),
        ("vtrain-simulator", False),
        ("pytorch-fsdp-2022", False),
    ],
)
def test_who_reads_a_batch_before_every_forward(name: str, waits: bool) -> None:
    assert (load_stack(name).batch_overhead_s > 0) is waits


def test_documented_gathers_of_zero_3() -> None:
    first = load_stack("deepspeed-zero-2021")
    assert (first.listed_weights, first.gathers_again, first.overlap_dp) == (True, True, False)
    assert first.list_entry_s == pytest.approx(7e-6)
    assert not load_stack("pytorch-fsdp-2022").listed_weights


def test_documented_memory() -> None:
    maxtext = load_stack("maxtext")  # gradients of a bf16 cast, no 16-bit weights beside fp8 ones
    assert (maxtext.gradient_reduce_bytes, maxtext.fp8_weights) == (2, True)
    assert load_stack("megatron-lm-2021").fp16_gradients
    assert load_stack("megatron-deepspeed-2021").norm_copy_bytes == 8  # in double
    assert load_stack("deepspeed-zero-2020").live_parameters == 1e9
    scaling, nemo = load_stack("aleph-alpha-scaling"), load_stack("nemo-2024")
    assert (scaling.cross_entropy, scaling.gather_logits) == ("eager", True)
    assert (nemo.gradient_bytes, nemo.fp8_weights) == (2, True)
    assert load_stack("megatron-core-2024").workspace_bytes == pytest.approx(67.1e6)


def test_a_stack_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        'extends: ideal\nlayer_overhead: {value: "7 us", source: "assumed: a guess"}\n'
    )
    stack = load_stack("mine.yaml", base_dir=tmp_path)
    assert (stack.name, stack.layer_overhead_s, stack.attention) == ("mine", 7e-6, "flash2")
    assert [(note.name, note.source) for note in stack.assumptions] == [
        ("stack.layer_overhead", "assumed: a guess")
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("extends: ideal\ngemm_scale: 2\n", "is not a mapping"),
        ("extends: ideal\ngemm_scale: {value: 2}\n", "'source' is missing"),
        ("extends: ideal\ngemm_scale: {value: 0, source: x}\n", "greater than or equal to 0.1"),
        ("extends: ideal\nlayer_overhead: {value: 3, source: x}\n", "has no unit"),
        ("extends: ideal\nfragmentation: {value: 2, source: x}\n", "less than or equal to 1"),
        ("extends: mine.yaml\n", "goes in a circle"),
        ("extends: 3\n", "not the name of a stack"),
        ("extends: ideel\n", "unknown stack 'ideel'"),
        ("- 1\n", "a stack is a mapping"),
        ("framework: x\n", "is missing"),
    ],
)
def test_wrong_stacks(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        load_stack("mine.yaml", base_dir=tmp_path)
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    ("overrides", "kept"),
    [
        ({"gemm_scale": 1.6}, False),
        ({"layer_overhead": "1 ms"}, False),
        ({"framework_memory": "1 GB"}, True),
    ],
)
def test_with_another_scalar_what_was_measured_of_a_stack_holds_no_more(
    overrides: dict[str, object], kept: bool
) -> None:
    assert load_stack("llm-foundry").uncertainty.own is not None
    assert (load_stack("llm-foundry", overrides).uncertainty.own is not None) is kept
