"""MegaScale changes the model and the overlap, one step per row of its ablation.

Source: Jiang et al., MegaScale (arXiv 2402.15627), sections 3.1-3.2 and table 3.
"""

from __future__ import annotations

from typing import Final

from simulator.published.families import Settings
from simulator.published.rows import PublishedRow
from simulator.spec.stacks import load_stack

ASSUMED_WINDOW: Final = 1024
"""Tokens a query looks back: half of the 2048, an assumption. The paper prints no window; that its
MFU column counts attention once per two tokens is in keeping with it."""

_BASELINE: Final = "megatron-lm-2023"
_ABLATION: Final = (
    ("parallel transformer", "parallel_block"),
    ("sliding window", "sliding_window"),
    ("tp overlap", "overlap_tp"),
    ("pp overlap", "overlap_pp"),
    ("dp overlap", "overlap_dp"),
    ("efficient operators", "kernels"),
    ("misc", "data_pipeline"),
)
"""Words of the ``note`` column, in the order in which table 3 adds the features up."""


def features(row: PublishedRow) -> tuple[str, ...]:
    """What a row has of MegaScale; empty for the first row of the ablation."""
    names = tuple(name for _, name in _ABLATION)
    step = row.lower("note").split(";")[0]
    if "->" in row.text("framework"):
        if step.startswith("baseline"):
            return ()
        for index, (words, _) in enumerate(_ABLATION):
            if words in step:
                return names[: index + 1]
    return names


def apply_features(
    row: PublishedRow, model: Settings, plan: Settings, stack: Settings
) -> list[str]:
    """Sets the features of a row in the parts of its scenario; returns what was assumed."""
    if "megascale" not in row.lower("framework"):
        return []
    present = features(row)
    plan["overlap"] = {axis: f"overlap_{axis}" in present for axis in ("tp", "pp", "dp")}
    stack["preset"] = "megascale" if "kernels" in present else _BASELINE
    if "kernels" in present and "data_pipeline" not in present:
        stack["batch_overhead"] = f"{load_stack(_BASELINE).batch_overhead_s} s"
    if "parallel_block" in present:
        model["parallel_block"] = True
    if "sliding_window" in present:
        model["sliding_window"] = ASSUMED_WINDOW
        return [f"sliding window not published: {ASSUMED_WINDOW}"]
    return []
