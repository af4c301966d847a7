"""Turns precision and recomputation, as frameworks word them, into a training description."""

from __future__ import annotations

import re

from simulator.published.adapters import adapter_settings
from simulator.published.families import Settings
from simulator.published.layout import Degrees
from simulator.published.rows import CannotRunError, PublishedRow


def training_settings(row: PublishedRow, degrees: Degrees) -> tuple[Settings, list[str]]:
    """The scenario's ``training``, and what was assumed.

    Raises:
        CannotRunError: if the precision, the optimizer or the recomputation is not modelled.
    """
    precision, precision_notes = _precision(row)
    recompute, recompute_notes = _recompute(row)
    seq_length, length_notes = _tokens_per_sequence(row)
    training: Settings = {
        "global_batch_size": degrees.global_batch_size,
        "micro_batch_size": degrees.micro_batch_size,
        "seq_length": seq_length,
        "precision": precision,
        "optimizer": "adam",
        "recompute": recompute,
    }
    adapters, adapter_notes = adapter_settings(row)
    notes = precision_notes + recompute_notes + length_notes + adapter_notes
    return training | adapters, notes


def _tokens_per_sequence(row: PublishedRow) -> tuple[int, list[str]]:
    """Tokens that a sequence of the row takes on average.

    NVIDIA's BERT fills the sequences of its second phase up to the next multiple of 64, not to
    512 (NVIDIA/DeepLearningExamples, PyTorch/LanguageModeling/BERT/scripts/run_pretraining.sh:
    phase2_bin_size=64). Of 512 tokens of Wikipedia 50 % are no padding (arXiv 2107.02027,
    table 1), so that 256 and half a bin are left.
    """
    stated = row.needed("seq_len")
    if row.lower("framework").startswith("nvidia pytorch bert") and stated == 512:
        return 288, ["sequences in bins of 64 tokens: 288 of 512 on average"]
    return stated, []


def _precision(row: PublishedRow) -> tuple[str, list[str]]:
    text = row.lower("precision")
    for name in ("nvfp4", "int8"):
        if name in text:
            raise CannotRunError(f"precision {name} is not modelled")
    for name in ("fp8", "tf32", "bf16/fp16", "fp16", "bf16"):
        if name in text:
            precision = name.split("/")[0]
            return precision, [f"precision {precision}"] if "not stated" in text else []
    if text == "fp32":
        return "fp32", []
    precision = "fp16" if (row.integer("year") or 2022) < 2022 else "bf16"
    return precision, [f"precision not stated: {precision}"]


def _recompute(row: PublishedRow) -> tuple[str | Settings, list[str]]:
    text = row.lower("recompute")
    if text.endswith("save_qkv_proj"):
        # MaxText's policy keeps these projections and computes the rest of the layer again.
        return {"mode": "full", "keeps_qkv": True}, []
    if text.startswith("full"):
        return "full", []
    if _counts_recomputation(row):
        return "full", [f"recompute full, not {text or 'stated'}: HFU is 4/3 MFU"]
    if text.startswith("none"):
        return "none", ["recompute none"] if "not stated" in text else []
    if text.startswith(("selective", "policy")):
        return _selective(row, text)
    if "selective" in text:
        return "selective", ["recompute not stated: selective"]
    if "maxtext" in row.lower("framework"):
        return "full", ["recompute not stated: full, MaxText's default remat_policy"]
    # Full recomputation was the only kind before Korthikanti et al. (May 2022).
    year = row.integer("year") or 2024
    selective = re.search(r"megascale|megatron-lm|nemo megatron", row.lower("framework"))
    mode = "full" if year < 2022 else "selective" if selective else "none"
    return mode, [f"recompute not stated: {mode}"]


def _selective(row: PublishedRow, text: str) -> tuple[str | Settings, list[str]]:
    if re.fullmatch(r"selective( \((attention core|core_attn)\))?", text):
        return "selective", []
    if text.startswith("selective op (torchtitan"):
        return "alternate", []
    if "fraction of blocks" in text and (blocks := _checkpointed_blocks(row)) is not None:
        return {"mode": "full", "num_layers": blocks}, [f"recompute of {blocks} layers: HFU / MFU"]
    return "selective", [f"recompute '{text}' runs as selective"]


def _checkpointed_blocks(row: PublishedRow) -> int | None:
    """Layers that run their forward pass again, by the row's two ways to count the same FLOPs.

    A forward pass is a third of a step's model FLOPs: HFU / MFU is 1 + p / 3 with a share p of the
    blocks (foundation-model-stack/fms-fsdp@4eb97d80, fms_fsdp/policies/ac_handler.py).
    """
    model, hardware = row.number("mfu_pct"), row.number("hfu_pct")
    layers = row.integer("layers")
    if model is None or hardware is None or layers is None:
        return None
    blocks = round(3 * (hardware / model - 1) * layers)
    return blocks if 0 < blocks <= layers else None


def _counts_recomputation(row: PublishedRow) -> bool:
    """Whether the row's own utilisations say that a forward pass is computed again.

    Only where the convention names both: MosaicML's HFU is 4/3 MFU with activation checkpoints.
    The ratio is one of two ways to count the same FLOPs, whatever the run's speed was.
    """
    model, hardware = row.number("mfu_pct"), row.number("hfu_pct")
    if model is None or hardware is None or "act-ckpt" not in row.lower("flops_convention"):
        return False
    return hardware > 1.2 * model
