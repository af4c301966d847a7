"""Closed forms of what policies exchange; the prices and the tests of laws use the same ones."""

from __future__ import annotations

from typing import Final

from simulator.cost.footprint import padded_vocab
from simulator.cost.low_rank import rank_shape
from simulator.fine_tuning import layer_matrices
from simulator.model import TransformerConfig
from simulator.numeric import as_float

INDEX_BYTES: Final = 4.0
"""The place of an element among up to 2^32."""


def all_reduce_bytes(num_bytes: float, workers: int) -> float:
    """2 (n - 1) / n X: what leaves a worker for a sum of X bytes over n workers."""
    return 2 * (workers - 1) / workers * num_bytes


def one_bit_node_bytes(parameters: float, ranks: int, per_node: int) -> float:
    """What leaves a node's NICs for one exchange of packed signs, of N ranks, g of them per node.

    X / 8 [g (N - g) / N + (N - 1) / N]: an all-to-all sends from every rank, a ring once per node.
    """
    to_servers = per_node * (ranks - per_node) / ranks
    from_servers = (ranks - 1) / ranks
    return parameters / 8 * (to_servers + from_servers)


def mean_saving(saving: float, warm_up_share: float) -> float:
    """1 / (w + (1 - w) / s): of time or of bytes, where a share w of the steps saves nothing.

    Source: microsoft/DeepSpeed, docs/_posts/2020-09-09-onebit-adam-blog-post.md.
    """
    return 1 / (warm_up_share + (1 - warm_up_share) / saving)


def server_bytes(parameters: float, wire_bytes: float, workers: int) -> float:
    """N X: what a parameter server takes in per step."""
    return workers * parameters * wire_bytes


def _matrix_sides(model: TransformerConfig, tp: int) -> list[tuple[float, float]]:
    sides = (rank_shape(model, name, tp) for name in layer_matrices(model))
    return [(as_float(rows), as_float(columns)) for rows, columns in sides]


def factor_elements(
    model: TransformerConfig, rank: int, parameters: float, num_layers: int, tp: int
) -> float:
    """R (m + n) of every matrix of a rank: those of its layers, and its vocabulary tables."""
    in_layers = sum(min(rank, *sides) * sum(sides) for sides in _matrix_sides(model, tp))
    rows = as_float(padded_vocab(model.vocab_size, tp)) / tp
    tables = _tables(model, parameters, num_layers, tp)
    return num_layers * in_layers + tables * rank * (rows + model.hidden_size)


def uncompressed_elements(
    model: TransformerConfig, parameters: float, num_layers: int, tp: int
) -> float:
    """Parameters of a rank that are in no matrix: biases and norms."""
    matrices = sum(rows * columns for rows, columns in _matrix_sides(model, tp)) * num_layers
    table = as_float(padded_vocab(model.vocab_size, tp)) / tp * model.hidden_size
    tables = _tables(model, parameters, num_layers, tp)
    return max(parameters - matrices - tables * table, 0.0)


def _tables(model: TransformerConfig, parameters: float, num_layers: int, tp: int) -> int:
    """Vocabulary tables on a rank: what its layers leave over, in tables."""
    matrices = sum(rows * columns for rows, columns in _matrix_sides(model, tp)) * num_layers
    table = as_float(padded_vocab(model.vocab_size, tp)) / tp * model.hidden_size
    return round((parameters - matrices) / table)
