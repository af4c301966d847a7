from collections.abc import Callable

import pytest

from simulator.published.rows import PublishedRow
from simulator.published.software import (
    SOFTWARE,
    attention_kernel,
    stack_settings,
    table_date,
)
from simulator.spec.stacks import load_stack

MakeRow = Callable[..., PublishedRow]


@pytest.mark.parametrize("stack", sorted({software.stack for software in SOFTWARE}))
def test_rules_name_stacks_of_the_catalogue(stack: str) -> None:
    assert load_stack(stack).name == stack


@pytest.mark.parametrize(
    ("framework", "year", "stack", "is_nearest"),
    [
        ("Megatron-LM", "2020", "megatron-lm-2020", False),
        ("Megatron-LM PTD-P", "2021", "megatron-lm-2021", False),
        ("Megatron-LM", "2022", "megatron-lm-2022", False),
        ("Megatron-LM (285068c8)", "2024", "megatron-lm-2023", False),
        ("Megatron-LM main", "2026", "megatron-core-tests", False),
        ("Megatron-LM", "2026", "megatron-core-no-overlap", False),
        ("MegaScale", "2024", "megascale", False),
        ("Megatron-DeepSpeed (BigScience)", "2022", "megatron-deepspeed-bloom", False),
        ("Megatron-DeepSpeed", "2022", "megatron-deepspeed-2021", False),
        ("Megatron-DeepSpeed (ROCm)", "2023", "megatron-deepspeed-frontier", False),
        ("Megatron-LM + DeepSpeed ZeRO-3", "2021", "deepspeed-zero-2021", False),
        ("DeepSpeed ZeRO-100B + Megatron", "2020", "deepspeed-zero-2020", False),
        ("Megatron-LM (2019)", "2019", "megatron-lm-2019", False),
        ("Megatron-LM (Sept 2019) MP across nodes", "2020", "megatron-lm-2019", False),
        ("llm-foundry/Composer FSDP", "2022", "llm-foundry-2022", False),
        ("llm-foundry/Composer FSDP", "2024", "llm-foundry", False),
        ("lit-gpt (Lightning Fabric FSDP)", "2023", "lit-gpt", False),
        ("PyTorch torch.compile", "2023", "pytorch-compile-2023", False),
        ("NeMo/Megatron-Core 24.07/24.09", "2024", "nemo-2024", False),
        ("Megatron-Bridge (NeMo 26.04)", "2026", "nemo-2025", False),
        ("NVIDIA NeMo Framework Release 24.09", "2024", "nemo-mlperf", False),
        ("maxtext", "2024", "maxtext", False),
        ("T5X/JAX Pathways", "2022", "palm-t5x", False),
        ("Aleph Alpha scaling", "2023", "aleph-alpha-scaling", False),
        ("OneFlow", "2021", "oneflow", False),
        ("a framework of tomorrow", "2030", "pytorch-fsdp-2024", True),
        ("", "", "pytorch-fsdp-2024", True),
    ],
)
def test_stack_by_name_and_year(
    make_row: MakeRow, framework: str, year: str, stack: str, is_nearest: bool
) -> None:
    settings, notes = stack_settings(make_row(framework=framework, year=year))
    assert settings["preset"] == stack
    assert bool(notes) is is_nearest
    assert all(stack in note for note in notes)


@pytest.mark.parametrize(
    ("source", "framework", "on_host"),
    [
        ("BigScience experiments/gpt2.md", "Megatron-LM + DeepSpeed ZeRO-3", True),
        ("BigScience experiments/gpt2.md", "Megatron-DeepSpeed 3D", False),
        ("SC21 table 2", "Megatron-LM + DeepSpeed ZeRO-3", False),
    ],
)
def test_zero_3_of_bigscience_keeps_checkpoints_on_the_host(
    make_row: MakeRow, source: str, framework: str, on_host: bool
) -> None:
    row = make_row(source=source, framework=framework, year="2021")
    assert stack_settings(row)[0].get("checkpoints_on_host", False) is on_host


def test_llama_3_sends_asynchronously(make_row: MakeRow) -> None:
    row = make_row(framework="Meta internal (PyTorch FSDP+TP+PP+CP)", year="2024")
    assert stack_settings(row)[0]["overlap_pp"] is True
    assert "overlap_pp" not in stack_settings(make_row(framework="PyTorch FSDP"))[0]


@pytest.mark.parametrize(
    ("text", "year", "of_stack", "kernel"),
    [
        ("no", "2022", "flash2", "unfused"),
        ("0", "2022", "flash2", "unfused"),
        ("none", "2023", "flash2", "unfused"),
        ("no (torch attention)", "2023", "flash2", "unfused"),
        ("FlashAttention 1.0.8", "2023", "flash2", "flash1"),
        ("FlashAttention-2 + fused RMSNorm", "2023", "flash3", "flash2"),
        ("yes (FA2)", "2023", "flash3", "flash2"),
        ("1", "2022", "flash2", "flash1"),
        ("1", "2024", "unfused", "flash2"),
        ("1", "2024", "flash3", ""),
        ("", "2024", "flash3", ""),
        ("not stated", "2024", "flash2", ""),
    ],
)
def test_attention_words(
    make_row: MakeRow, text: str, year: str, of_stack: str, kernel: str
) -> None:
    assert attention_kernel(make_row(flash_attn=text, year=year), of_stack) == kernel


@pytest.mark.parametrize(
    ("note", "year", "date"),
    [
        ("2023-04/05 tables (same as before)", "2023", "2023-04"),
        ("tables of 2023-04", "2023", "2023-00"),
        ("", "", "9999-12"),
    ],
)
def test_a_note_that_begins_with_a_month_dates_its_row(
    make_row: MakeRow, note: str, year: str, date: str
) -> None:
    assert table_date(make_row(note=note, year=year)) == date


@pytest.mark.parametrize(
    ("note", "stack"),
    [("2023-02 tables", "llm-foundry-2022"), ("2023-04/05 tables", "llm-foundry-2023")],
)
def test_a_framework_of_two_eras_in_one_year(make_row: MakeRow, note: str, stack: str) -> None:
    row = make_row(framework="llm-foundry/Composer FSDP", year="2023", note=note)
    assert stack_settings(row)[0]["preset"] == stack


@pytest.mark.parametrize(("note", "fused"), [("8 nodes", False), ("8 nodes, torch.compile", True)])
def test_torchtitan_compiles_where_its_note_says_so(
    make_row: MakeRow, note: str, fused: bool
) -> None:
    """compile = false in its configuration files: each operation is one kernel of PyTorch."""
    settings, _ = stack_settings(make_row(framework="torchtitan", year="2025", note=note))
    names = ("fused_norm", "fused_rotary", "fused_bias_gelu", "fused_bias_dropout_add")
    assert all(settings.get(name, True) is fused for name in names)


def test_transformers_takes_fused_attention_by_default(make_row: MakeRow) -> None:
    cells = {"flash_attn": "", "note": "HF implementation; checkpointing not stated"}
    assert attention_kernel(make_row(**cells, year="2025"), "unfused") == "flash2"
    assert attention_kernel(make_row(**cells, year="2022"), "unfused") == ""


@pytest.mark.parametrize(
    ("cells", "dropout"),
    [
        ({"dropout": "1"}, True),
        ({"dropout": "0"}, False),
        ({"model": "LLaMA-13B"}, False),  # the architecture has none
        ({}, None),
    ],
)
def test_dropout(make_row: MakeRow, cells: dict[str, str], dropout: bool | None) -> None:
    assert stack_settings(make_row(**cells))[0].get("dropout") is dropout


def test_loss_of_the_test_case_that_is_named_after_it(make_row: MakeRow) -> None:
    settings, _ = stack_settings(make_row(model="gpt/te_tp2_pp2_cross_entropy_loss_fusion"))
    assert settings["cross_entropy"] == "vocab_parallel_jit"


def test_loss_that_a_note_states(make_row: MakeRow) -> None:
    settings, _ = stack_settings(make_row(note="fp32 grad accumulation, CE fusion; 2 iterations"))
    assert settings["cross_entropy"] == "vocab_parallel_te"


def test_zero_bubbles_code_reads_batches_beside_compute(make_row: MakeRow) -> None:
    own, _ = stack_settings(make_row(framework="Megatron-LM zero-bubble", year="2024"))
    plain, _ = stack_settings(make_row(framework="Megatron-LM", year="2022"))
    assert own["batch_overhead"] == "0 s"
    assert "batch_overhead" not in plain
