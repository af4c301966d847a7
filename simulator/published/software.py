"""Finds the software stack on which a row runs, by the name and the year of its framework."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from simulator.published.families import Settings, family_of
from simulator.published.frameworks import documented_stack
from simulator.published.rows import PublishedRow
from simulator.spec.stacks import load_stack

_ALWAYS: Final = "9999-12"


@dataclass(frozen=True, slots=True)
class Software:
    """One rule: a framework whose name matches, up to a date, runs on ``stack``.

    Attributes:
        framework: matches the lower-case ``framework`` column.
        until: last year and month.
        nearest: whether the stack is another framework than the row's.
    """

    framework: str
    stack: str
    until: str = _ALWAYS
    nearest: bool = False

    def matches(self, row: PublishedRow) -> bool:
        """Whether the rule is for this row."""
        return (
            table_date(row) <= self.until
            and re.search(self.framework, row.lower("framework")) is not None
        )


SOFTWARE: Final = (
    Software(r"-> megascale|^megascale", "megascale"),
    Software(r"\(rocm\)", "megatron-deepspeed-frontier"),
    Software(r"zero-infinity|zero-offload", "deepspeed-zero-infinity"),
    Software(r"^deepspeed$", "deepspeed-zero-infinity", "2021-12"),
    Software(r"megatron-lm \+ deepspeed zero|hf trainer \+ deepspeed", "deepspeed-zero-2021"),
    Software(r"zero-3 only|^deepspeed zero", "deepspeed-zero-2020"),
    Software(r"^pytorch ddp", "deepspeed-zero-2020", nearest=True),
    Software(r"megatron-deepspeed \(bigscience\)", "megatron-deepspeed-bloom"),
    Software(r"megatron-deepspeed|gpt-neox", "megatron-deepspeed-2021"),
    Software(r"^vtrain$", "vtrain-simulator"),
    # Its activation memory s b h (34 + 5 a s / h) (arXiv 2401.10241, table 1) is that of unfused
    # attention with dropout.
    Software(r"zero-bubble", "megatron-lm-2022"),
    Software(r"^megatron-lm \(sept 2019\)", "megatron-lm-2019"),
    Software(r"^megatron-lm", "megatron-lm-2019", "2019-12"),
    Software(r"^megatron-lm", "megatron-lm-2020", "2020-12"),
    Software(r"^megatron-lm", "megatron-lm-2021", "2021-12"),
    Software(r"^megatron-lm", "megatron-lm-2022", "2022-12"),
    Software(r"285068c8|^megatron-lm$", "megatron-lm-2023", "2024-12"),
    Software(r"^megatron-lm$", "megatron-core-no-overlap"),
    Software(r"^megatron-lm main", "megatron-core-tests"),
    Software(r"^megatron-(lm|core)", "megatron-core-2024"),
    Software(r"nemo megatron", "megatron-lm-2022", "2022-12"),
    Software(r"nvidia nemo|nvidia release|ngc ", "nemo-mlperf"),
    Software(r"nemo|megatron-bridge", "nemo-2024", "2024-12"),
    Software(r"nemo|megatron-bridge", "nemo-2025"),
    Software(r"llm-foundry", "llm-foundry-2022", "2023-03"),
    Software(r"llm-foundry", "llm-foundry-2023", "2023-12"),
    Software(r"llm-foundry", "llm-foundry"),
    Software(r"fms-fsdp", "fms-fsdp"),
    Software(r"lit-gpt", "lit-gpt"),
    Software(r"torch\.compile", "pytorch-compile-2023"),
    Software(r"fsdp|composer", "pytorch-fsdp-2022", "2023-12"),
    Software(r"fsdp|composer", "pytorch-fsdp-2024"),
    Software(r"maxtext", "maxtext"),
    Software(r"paxml|^pax", "maxtext", nearest=True),
    Software(r"t5x", "palm-t5x"),
    Software(r"aleph alpha", "aleph-alpha-scaling"),
    Software(r"internevo", "internevo"),
    Software(r"oneflow", "oneflow"),
    Software(r"bert \(apex\)", "megatron-lm-2021", nearest=True),
    Software(r"metaseq", "megatron-lm-2022", nearest=True),
    Software(r"primus", "megatron-core-2024", nearest=True),
    Software(r"deepspeed", "deepspeed-zero-2020", nearest=True),
    Software(r"", "megatron-lm-2021", "2021-12", nearest=True),
    Software(r"", "pytorch-fsdp-2022", "2023-12", nearest=True),
    Software(r"", "pytorch-fsdp-2024", nearest=True),
)
"""First match wins; the last matches everything."""


def stack_settings(row: PublishedRow) -> tuple[Settings, list[str]]:
    """The scenario's ``stack``, and what was assumed."""
    software = next(software for software in SOFTWARE if software.matches(row))
    settings: Settings = {"preset": software.stack, **documented_stack(row)}
    attention = attention_kernel(row, load_stack(software.stack).attention)
    if attention:
        settings["attention"] = attention
    if "torch attention" in row.lower("flash_attn"):
        settings["fused_softmax"] = False
    if "fused rmsnorm" in row.lower("flash_attn"):
        settings["fused_norm"] = True
    if row.text("dropout"):
        settings["dropout"] = row.number("dropout") == 1
    elif family_of(row).name == "llama":
        settings["dropout"] = False  # The architecture has none.
    if "cross_entropy_loss_fusion" in row.lower("model"):
        # The test case of Megatron-LM that is named after its switch.
        settings["cross_entropy"] = "vocab_parallel_jit"
    if "ce fusion" in row.lower("note"):
        # SimuMax: with Transformer Engine's kernels (MooreThreads/SimuMax, docs/strategy.md).
        settings["cross_entropy"] = "vocab_parallel_te"
    name = row.text("framework")
    if software.nearest:
        unknown = f"framework '{name}'" if name else "framework not stated"
        return settings, [f"{unknown}: nearest stack {software.stack}"]
    return settings, []


def table_date(row: PublishedRow) -> str:
    """Year and month of a row's table: those that begin its note, else of the ``year`` column."""
    found = re.match(r"20\d\d-\d\d", row.lower("note"))
    year = row.integer("year")
    return found[0] if found else f"{year}-00" if year else _ALWAYS


def attention_kernel(row: PublishedRow, stack_attention: str) -> str:
    """The attention kernel that a row states, empty when it leaves it to its stack."""
    text = row.lower("flash_attn")
    if not text and "hf implementation" in row.lower("note"):
        # transformers takes torch's fused attention by default since 4.36 (December 2023).
        return "flash2" if table_date(row) > "2023-12" else ""
    if not text or text.startswith("not stated"):
        return ""
    if re.match(r"no\b|none|0$", text):
        return "unfused"
    if re.search(r"attention[- ]2|fa2", text):
        return "flash2"
    if re.search(r"attention[- ]1|xformers", text):
        return "flash1"
    # A bare "yes": FlashAttention-2 appeared in July 2023. Since then frameworks choose by machine.
    if table_date(row) < "2023":
        return "flash1"
    return "" if stack_attention.startswith("flash") else "flash2"
