"""Training a few added weights beside frozen ones: low-rank adapters (LoRA, QLoRA).

Source: Hu et al. 2021 (arXiv 2106.09685), section 4: W x + B A x with A [inputs, r], B [r, outputs]
    trained and W frozen; Dettmers et al. 2023 (arXiv 2305.14314): W in 4 bits, dequantised before
    every product.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from simulator.model import TransformerConfig

LinearName = Literal["query", "key", "value", "qkv", "output", "gate", "up", "gate_up", "down"]
BaseWeights = Literal["training", "int8", "nf4"]
"""How frozen weights are stored: in the precision of the training, or quantised."""


@dataclass(frozen=True, slots=True)
class Linear:
    """One matrix of a layer.

    Attributes:
        op: name of the product it is a part of (``workload/layers.py``), by kind of block: one
            after the other, parallel.
        column: it is cut by outputs over tp, else by inputs.
    """

    op: tuple[str, str]
    column: bool


LINEARS: Final[Mapping[LinearName, Linear]] = {
    "query": Linear(("qkv", "qkv_mlp_in"), True),
    "key": Linear(("qkv", "qkv_mlp_in"), True),
    "value": Linear(("qkv", "qkv_mlp_in"), True),
    "qkv": Linear(("qkv", "qkv_mlp_in"), True),
    "output": Linear(("attention_out", "out_mlp_out"), False),
    "gate": Linear(("mlp_in", "qkv_mlp_in"), True),
    "up": Linear(("mlp_in", "qkv_mlp_in"), True),
    "gate_up": Linear(("mlp_in", "qkv_mlp_in"), True),
    "down": Linear(("mlp_out", "out_mlp_out"), False),
}
"""Matrices of a layer. ``qkv`` and ``gate_up`` are one matrix, as Megatron-LM stores them, with one
adapter; the others have one each, as in Hugging Face's models."""

SEPARATE: Final[tuple[LinearName, ...]] = ("query", "key", "value", "output", "gate", "up", "down")
"""All matrices of a layer, each by itself. ``gate`` exists in gated MLPs only."""


@dataclass(frozen=True, slots=True)
class FineTuning:
    """Adapters of rank ``rank`` on ``targets`` of every layer; all else is frozen.

    Attributes:
        base: how the frozen matrices of the layers are stored.
    """

    rank: int
    targets: tuple[LinearName, ...]
    base: BaseWeights = "training"


def matrix_shape(model: TransformerConfig, name: LinearName) -> tuple[int, int]:
    """Inputs and outputs of a matrix of a layer, over all tensor-parallel ranks."""
    hidden, ffn = model.hidden_size, model.ffn_hidden_size
    query, key_value = model.query_size, model.key_value_size
    shapes: dict[LinearName, tuple[int, int]] = {
        "query": (hidden, query),
        "key": (hidden, key_value),
        "value": (hidden, key_value),
        "qkv": (hidden, query + 2 * key_value),
        "output": (query, hidden),
        "gate": (hidden, ffn),
        "up": (hidden, ffn),
        "gate_up": (hidden, 2 * ffn),
        "down": (ffn, hidden),
    }
    return shapes[name]


def layer_matrices(model: TransformerConfig) -> tuple[LinearName, ...]:
    """Names of the matrices of one layer, each by itself."""
    return tuple(name for name in SEPARATE if model.gated_mlp or name != "gate")


def op_of(model: TransformerConfig, name: LinearName) -> str:
    """Product of a layer that a matrix is a part of."""
    return LINEARS[name].op[1 if model.parallel_block else 0]
