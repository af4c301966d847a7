"""Closed forms of what policies exchange."""

from __future__ import annotations

from typing import Final

from simulator.cost.footprint import padded_vocab
from simulator.cost.low_rank import rank_shape
from simulator.fine_tuning import layer_matrices
from simulator.model import TransformerConfig
from simulator.numeric import as_float

INDEX_BYTES: Final = 4.0
"""The place of an element among up to 2^32."""


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
