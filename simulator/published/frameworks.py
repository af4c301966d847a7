"""What documents and code of a framework say of its runs that no column and no stack says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from simulator.published.rows import PublishedRow

_Part = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Documented:
    """One rule: rows whose framework matches take these settings.

    Attributes:
        framework: found in the lower-case ``framework`` column.
        source: where it is documented.
        stack, model: keys of these parts of the scenario.
        unless_noted: word of the ``note`` column with which the rule does not hold.
        title: found in the lower-case ``source`` column.
    """

    framework: str
    source: str
    stack: _Part = field(default_factory=dict[str, object])
    model: _Part = field(default_factory=dict[str, object])
    unless_noted: str = ""
    title: str = ""

    def matches(self, row: PublishedRow) -> bool:
        """Whether the rule is for this row."""
        excepted = self.unless_noted and self.unless_noted in row.lower("note")
        named = re.search(self.framework, row.lower("framework")) is not None
        return not excepted and named and self.title in row.lower("source")


DOCUMENTED: Final = (
    Documented(
        r"megatron-core launcher 2024",
        "NVIDIA/NeMo-Framework-Launcher, launcher_scripts/conf/training: llama2_70b.yaml@0446d2c0, "
        "llama3_8b.yaml@14860f74 and nemotron_8b.yaml@089b90e6 do not set "
        "cross_entropy_loss_fusion, which is off by default in Megatron-Core "
        "(model_parallel_config.py); later versions do",
        stack={"cross_entropy": "vocab_parallel"},
    ),
    Documented(
        r"meta internal",
        '"We adopt asynchronous point-to-point communication in PP": arXiv 2407.21783, 3.3.2',
        stack={"overlap_pp": True},
    ),
    Documented(
        r"^paxml \(jax\)$",
        "without Transformer Engine, XLA compiles the products and the softmax of "
        "praxis/layers/attentions.py; none of the flags that NVIDIA/JAX-Toolbox lists fuses them",
        stack={"attention": "unfused"},
    ),
    Documented(
        r"^torchtitan",
        "compile = false in train_configs/llama3_8b.toml: the kernels of PyTorch one by one",
        stack={
            "fused_norm": False,
            "fused_rotary": False,
            "fused_bias_gelu": False,
            "fused_bias_dropout_add": False,
        },
        unless_noted="compile",
    ),
    Documented(
        r"^deepspeed, (1-bit )?adam$",
        "without ZeRO gradients are reduced after the backward: microsoft/DeepSpeed, "
        "runtime/engine.py (allreduce_gradients, buffered_allreduce_fallback; from memory)",
        stack={"overlap_dp": False},
    ),
    Documented(
        r"megatron-lm \+ deepspeed zero",
        "--checkpoint-in-cpu: bigscience-workshop/bigscience@1b92f337, "
        "experiments/gpt2-meg-ds-zero/meg_ds_zero_gpt2_perf_n16.slurm",
        stack={"checkpoints_on_host": True},
        title="bigscience",
    ),
    Documented(
        r"zero-bubble",
        "sail-sg/zero-bubble-pipeline-parallelism@9921748 and @0a51e3d, pretrain_gpt.py: batches "
        "are read on the first and last stage only, into a queue; "
        "examples/pretrain_zero_bubble.sh unties the embeddings",
        stack={"batch_overhead": "0 s"},
        model={"tied_embeddings": False},
    ),
    Documented(
        r"^vtrain$",
        "the simulator has an output layer of its own: tests/published/test_vtrain_single.py",
        model={"tied_embeddings": False},
    ),
)
"""All that match a row apply."""


def documented_stack(row: PublishedRow) -> dict[str, object]:
    """What is documented for the scenario's ``stack``."""
    return {key: value for rule in _matching(row) for key, value in rule.stack.items()}


def documented_model(row: PublishedRow) -> dict[str, object]:
    """What is documented for the scenario's ``model``."""
    return {key: value for rule in _matching(row) for key, value in rule.model.items()}


def _matching(row: PublishedRow) -> Iterator[Documented]:
    return (rule for rule in DOCUMENTED if rule.matches(row))
