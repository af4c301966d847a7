"""Low-rank adapters of fine-tuning runs: rank and matrices, by what the framework's recipes say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from simulator.fine_tuning import LinearName
from simulator.published.families import Settings
from simulator.published.rows import PublishedRow


@dataclass(frozen=True, slots=True)
class Recipe:
    """Adapters where rows do not state them.

    Attributes:
        pattern: matches the lower-case model and framework, joined by a space.
        source: where rank and targets are written.
    """

    pattern: str
    rank: int
    targets: tuple[LinearName, ...]
    source: str


RECIPES: Final = (
    Recipe(
        r"llama2-70b-lora",
        16,
        ("qkv", "output"),
        "MLPerf: rank 16 on the attention projections",
    ),
    Recipe(
        r"nemo|megatron",
        16,
        ("qkv",),
        "NeMo's recipes in performance mode: rank 16 on qkv",
    ),
    Recipe(
        r"pax",
        32,
        ("query", "key", "value", "output", "gate", "up", "down"),
        "JAX-Toolbox, LORA_RANK and LORA_TARGET_LAYERS: rank 32 on all (from memory)",
    ),
    Recipe(
        r"torchtune",
        8,
        ("query", "value", "output", "gate", "up", "down"),
        "torchtune's recipes: rank 8 on query, value, output and the MLP (from memory)",
    ),
    Recipe(r"", 16, ("query", "value"), "rank 16 on query and value"),
)
"""First match wins; the last matches everything.

Source: the note of the MLPerf rows; NVIDIA/NeMo, nemo/collections/llm/recipes/llama3_8b.py and
    llama3_70b.py, finetune_performance_optimizations: ``recipe.peft.target_modules =
    ['linear_qkv']``.
Assumes: rank 16 in all of NeMo's sizes; between 8 and 32 it is no percent of a step.
"""


def is_adapted(row: PublishedRow) -> bool:
    """Whether a row trains low-rank adapters."""
    return row.lower("task") == "lora" or "lora" in row.lower("model")


def adapter_settings(row: PublishedRow) -> tuple[Settings, list[str]]:
    """What a row adds to the scenario's ``training``, and what was assumed."""
    if not is_adapted(row):
        return {}, []
    name = f"{row.lower('model')} {row.lower('framework')}"
    recipe = next(recipe for recipe in RECIPES if re.search(recipe.pattern, name))
    tuned = {"method": "lora", "rank": recipe.rank, "targets": list(recipe.targets)}
    return {"fine_tuning": tuned}, [f"adapters not stated: {recipe.source}"]
