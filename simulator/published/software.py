"""Finds the software stack on which a row runs, by the name and the year of its framework."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from simulator.published.families import Settings, family_of
from simulator.published.rows import PublishedRow

_ALWAYS: Final = 9999


@dataclass(frozen=True, slots=True)
class Software:
    """One rule: a framework whose name matches, up to a year, runs on ``stack``.

    Attributes:
        framework: matches the lower-case ``framework`` column.
        until_year: last year of the ``year`` column.
        nearest: whether the stack is another framework than the row's.
    """

    framework: str
    stack: str
    until_year: int = _ALWAYS
    nearest: bool = False

    def matches(self, row: PublishedRow) -> bool:
        """Whether the rule is for this row."""
        year = row.integer("year") or _ALWAYS
        return (
            year <= self.until_year
            and re.search(self.framework, row.lower("framework")) is not None
        )


SOFTWARE: Final = (
    Software(r"-> megascale|^megascale", "megascale"),
    Software(r"\(rocm\)", "megatron-deepspeed-frontier"),
    Software(r"megatron-lm \+ deepspeed zero|hf trainer \+ deepspeed", "deepspeed-zero-2020"),
    Software(r"zero-3 only|^deepspeed zero", "deepspeed-zero-2020"),
    Software(r"^pytorch ddp", "deepspeed-zero-2020", nearest=True),
    Software(r"megatron-deepspeed|gpt-neox", "megatron-deepspeed-2021"),
    # Its activation memory s b h (34 + 5 a s / h) (arXiv 2401.10241, table 1) is that of unfused
    # attention with dropout.
    Software(r"zero-bubble", "megatron-lm-2022"),
    Software(r"^megatron-lm", "megatron-lm-2020", 2020),
    Software(r"^megatron-lm", "megatron-lm-2021", 2021),
    Software(r"^megatron-lm", "megatron-lm-2022", 2022),
    Software(r"285068c8|^megatron-lm$", "megatron-lm-2023", 2024),
    Software(r"^megatron-(lm|core)", "megatron-core-2024"),
    Software(r"nemo megatron", "megatron-lm-2022", 2022),
    Software(r"nemo|megatron-bridge|ngc |nvidia release|nvidia nemo", "nemo-2024"),
    Software(r"llm-foundry", "llm-foundry"),
    Software(r"fms-fsdp", "fms-fsdp"),
    Software(r"torch\.compile", "pytorch-compile-2023"),
    Software(r"fsdp|composer", "pytorch-fsdp-2022", 2023),
    Software(r"fsdp|composer", "pytorch-fsdp-2024"),
    Software(r"maxtext", "maxtext"),
    Software(r"paxml|^pax", "maxtext", nearest=True),
    Software(r"t5x", "palm-t5x"),
    Software(r"aleph alpha", "aleph-alpha-scaling"),
    Software(r"internevo", "internevo"),
    Software(r"oneflow|bert \(apex\)", "megatron-lm-2021", nearest=True),
    Software(r"metaseq", "megatron-lm-2022", nearest=True),
    Software(r"primus", "megatron-core-2024", nearest=True),
    Software(r"deepspeed", "deepspeed-zero-2020", nearest=True),
    Software(r"", "megatron-lm-2021", 2021, nearest=True),
    Software(r"", "pytorch-fsdp-2022", 2023, nearest=True),
    Software(r"", "pytorch-fsdp-2024", nearest=True),
)
"""First match wins; the last matches everything."""


def stack_settings(row: PublishedRow) -> tuple[Settings, list[str]]:
    """The scenario's ``stack``, and what was assumed."""
    software = next(software for software in SOFTWARE if software.matches(row))
    settings: Settings = {"preset": software.stack}
    attention = attention_kernel(row)
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
    name = row.text("framework")
    if software.nearest:
        unknown = f"framework '{name}'" if name else "framework not stated"
        return settings, [f"{unknown}: nearest stack {software.stack}"]
    return settings, []


def attention_kernel(row: PublishedRow) -> str:
    """The attention kernel that a row states, empty when it states none."""
    text = row.lower("flash_attn")
    if not text and "hf implementation" in row.lower("note"):
        # transformers takes torch's fused attention by default since 4.36 (December 2023).
        return "flash2" if (row.integer("year") or _ALWAYS) > 2023 else ""
    if not text or text.startswith("not stated"):
        return ""
    if re.match(r"no\b|none|0$", text):
        return "unfused"
    if re.search(r"attention[- ]2|fa2", text):
        return "flash2"
    if re.search(r"attention[- ]1|xformers", text):
        return "flash1"
    # A bare "yes": FlashAttention-2 appeared in July 2023.
    return "flash1" if (row.integer("year") or _ALWAYS) <= 2022 else "flash2"
