"""Sizes of what depends on the shapes of matrices: adapters, and states of low-rank optimizers.

Source: GaLore (arXiv 2403.03507, table 1), APOLLO (arXiv 2412.05270, table 1) and
    Adafactor (arXiv 1804.04235, section 3); LoRA (arXiv 2106.09685), section 4.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from simulator.cost.footprint import FP32_BYTES, layer_rank_parameters, padded_vocab
from simulator.fine_tuning import LINEARS, FineTuning, LinearName, layer_matrices, matrix_shape
from simulator.model import TransformerConfig
from simulator.numeric import Numeric
from simulator.plan import OptimizerConfig

SVD_S: Final = 70.0 / 2.47e12
"""Seconds of a full SVD of an m x n gradient, m <= n, over m^2 n.

Source: jiaweizzhao/GaLore, issue 16: the first step of LLaMA-1B on one A100, which computes the
    projections, takes 70 s, later ones 30 ms. Its 24 layers of width 2,048 and 5,461 have
    24 * (4 * 2048^3 + 3 * 2048^2 * 5461) = 2.47e12. It gives 12 minutes for LLaMA-7B.
Assumes: the same on other accelerators: the decomposition is bound by latency, not by FLOPs.
"""


def rank_shape(model: TransformerConfig, name: LinearName, tp: Numeric) -> tuple[Numeric, Numeric]:
    """Inputs and outputs of a matrix on one of ``tp`` ranks."""
    inputs, outputs = matrix_shape(model, name)
    return (inputs, outputs / tp) if LINEARS[name].column else (inputs / tp, outputs)


def adapter_parameters(model: TransformerConfig, fine_tuning: FineTuning, tp: Numeric) -> Numeric:
    """Trained parameters of one layer on one rank: r (inputs + outputs) of every target."""
    total: Numeric = 0.0
    for name in fine_tuning.targets:
        inputs, outputs = rank_shape(model, name, tp)
        total = total + fine_tuning.rank * (inputs + outputs)
    return total


def _sides(model: TransformerConfig, tp: Numeric) -> Iterator[tuple[Numeric, Numeric]]:
    """Shorter and longer side of every matrix of a layer on one rank."""
    for name in layer_matrices(model):
        inputs, outputs = rank_shape(model, name, tp)
        yield np.minimum(inputs, outputs), np.maximum(inputs, outputs)


def matrix_state_elements(short: Numeric, long: Numeric, optimizer: OptimizerConfig) -> Numeric:
    """Elements of state that an optimizer keeps of one matrix.

    Two moments of a full matrix have 2 m n. GaLore keeps a projection m r and moments 2 n r;
    APOLLO the moments alone and 2 numbers (APOLLO-Mini is its rank 1); Adafactor a row and a
    column, m + n.

    Args:
        short: m, the shorter side.
        long: n, the longer one.
        optimizer: its form and rank.
    """
    rank = np.minimum(optimizer.rank, short)
    match optimizer.form:
        case "full":
            return 2 * short * long
        case "galore":
            return short * rank + 2 * long * rank
        case "apollo":
            return 2 * long * rank + 2
        case "factored":
            return short + long


def optimizer_state_bytes(
    model: TransformerConfig,
    optimizer: OptimizerConfig,
    *,
    parameters: Numeric,
    num_layers: Numeric,
    tp: Numeric,
) -> Numeric:
    """Moments of all parameters of a rank, before sharding.

    ``optimizer.state_bytes`` are those of two moments of one parameter; matrices of the layers
    keep less where the form says so, embeddings, norms and biases all of it. Adafactor's rows and
    columns are fp32, and of the tables, too.

    Args:
        model: for the shapes.
        optimizer: form, rank, bytes.
        parameters: on this rank.
        num_layers: among them.
        tp: tensor-parallel degree.

    Source: APOLLO's and GaLore's training scripts project the matrices of attention and MLP.
    """
    if optimizer.form == "full":
        return parameters * optimizer.state_bytes
    in_layers: Numeric = 0.0
    elements: Numeric = 0.0
    for short, long in _sides(model, tp):
        in_layers = in_layers + short * long
        elements = elements + matrix_state_elements(short, long, optimizer)
    rest = parameters - num_layers * in_layers
    if optimizer.form == "factored":
        outside = parameters - num_layers * layer_rank_parameters(model, tp)
        rows = padded_vocab(model.vocab_size, tp) / tp
        tables = np.round(outside / (rows * model.hidden_size))
        factored = num_layers * elements + tables * (rows + model.hidden_size)
        return FP32_BYTES * (factored + rest - tables * rows * model.hidden_size)
    per_element = optimizer.state_bytes / 2
    return num_layers * elements * per_element + rest * optimizer.state_bytes


def svd_s(model: TransformerConfig, optimizer: OptimizerConfig, tp: Numeric) -> Numeric:
    """Seconds per step of one layer's new projections, which GaLore finds every so many steps."""
    if not optimizer.svd_every:
        return 0.0
    work: Numeric = 0.0
    for short, long in _sides(model, tp):
        work = work + short**2 * long
    return work * SVD_S / optimizer.svd_every
