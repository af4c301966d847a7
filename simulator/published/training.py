"""Turns precision and recomputation, as frameworks word them, into a training description."""

from __future__ import annotations

import re

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
    training: Settings = {
        "global_batch_size": degrees.global_batch_size,
        "micro_batch_size": degrees.micro_batch_size,
        "seq_length": row.needed("seq_len"),
        "precision": precision,
        "optimizer": "adam",
        "recompute": recompute,
    }
    return training, precision_notes + recompute_notes


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


def _recompute(row: PublishedRow) -> tuple[str, list[str]]:
    text = row.lower("recompute")
    if text.startswith("full"):
        return "full", []
    if "maxtext" in row.lower("framework") and ("save_qkv_proj" in text or not text):
        # MaxText's base.yml has remat_policy full; save_qkv_proj keeps the three projections.
        return "full", [f"recompute '{text or 'not stated'}' runs as full"]
    if text.startswith("none"):
        return "none", ["recompute none"] if "not stated" in text else []
    if re.fullmatch(r"selective( \((attention core|core_attn)\))?", text):
        return "selective", []
    if text.startswith(("selective", "policy")):
        return "selective", [f"recompute '{text}' runs as selective"]
    if "selective" in text:
        return "selective", ["recompute not stated: selective"]
    # Full recomputation was the only kind before Korthikanti et al. (May 2022).
    year = row.integer("year") or 2024
    selective = re.search(r"megascale|megatron-lm|nemo megatron", row.lower("framework"))
    mode = "full" if year < 2022 else "selective" if selective else "none"
    return mode, [f"recompute not stated: {mode}"]
