"""What partial training changes of a scenario's prices and memory.

Adapters beside frozen weights, weights stored in fewer bits, optimizers that keep less than two
moments, gradients freed layer by layer, inputs of linears kept in part. A scenario that has none of
these is left as it is, to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from simulator.cost.compute import Matmul, matmul_s
from simulator.cost.footprint import (
    BufferBytes,
    StateBytes,
    bytes_per_weight,
    largest_parameter,
    layer_rank_parameters,
    model_state_bytes,
)
from simulator.cost.low_rank import adapter_parameters, optimizer_state_bytes, rank_shape, svd_s
from simulator.cost.memory_bound import memory_bound_s
from simulator.fine_tuning import BaseWeights, layer_matrices, op_of
from simulator.machine import BYTES_PER_ELEMENT
from simulator.model import layer_matrix_parameters, num_parameters
from simulator.scenario import Scenario
from simulator.workload.adapters import Tuning
from simulator.workload.step_costs import StepCosts

STORED_BYTES: Final[Mapping[BaseWeights, float]] = {"nf4": 0.516, "int8": 1.0}
"""Bytes of a frozen weight. nf4 with double quantisation takes 4 + 0.127 bits.

Source: QLoRA (arXiv 2305.14314), section 3.
"""
_INPUTS: Final[Mapping[str, str]] = {
    "qkv": "attention.linear_input",
    "qkv_mlp_in": "attention.linear_input",
    "attention_out": "attention.projection_input",
    "mlp_in": "mlp.linear_input",
    "mlp_out": "mlp.projection_input",
}
"""Product -> the activation that its weight gradient reads."""
_PROJECTIONS: Final = {"galore": 2, "apollo": 1}
"""Products of a gradient with a projection, per step: down, and GaLore's back up."""
_PASSES_PER_UPDATE: Final = 3
"""Elements moved per element of a matrix: the gradient is read, the scaled update read and written.

Assumes: of the two steps (scaling, adding) each is one kernel.
"""


def tuning_of(scenario: Scenario) -> Tuning:
    """How the layers' kernels differ from plain training."""
    training = scenario.training
    tuned = training.fine_tuning
    if tuned is not None:
        return Tuning(tuned, tuned.base, training.activation_keep_ratio)
    stored: BaseWeights = "int8" if training.optimizer.weight_bytes is not None else "training"
    return Tuning(None, stored, training.activation_keep_ratio)


def kept_inputs(scenario: Scenario) -> tuple[tuple[str, float], ...]:
    """Shares of the inputs of linears that the backward needs.

    A frozen matrix needs none; fused attention keeps its own output, whatever reads it.
    """
    training, model, stack = scenario.training, scenario.model, scenario.stack
    tuned, ratio = training.fine_tuning, training.activation_keep_ratio
    if tuned is None and ratio == 1:
        return ()
    names = layer_matrices(model)
    trained = {op_of(model, name) for name in (names if tuned is None else tuned.targets)}
    shares = {
        _INPUTS[op]: ratio if op in trained else 0.0
        for op in dict.fromkeys(op_of(model, name) for name in names)
        if op in _INPUTS
    }
    if stack.attention != "unfused" and not stack.copies_attention_output:
        shares.pop("attention.projection_input", None)
    return tuple(shares.items())


def adapter_width(scenario: Scenario) -> int:
    """Columns of all x A of a layer."""
    tuned = scenario.training.fine_tuning
    return 0 if tuned is None else tuned.rank * len(tuned.targets)


def adapters_per_layer(scenario: Scenario) -> float | None:
    """Trained parameters of a layer on one rank; None where all are trained."""
    tuned = scenario.training.fine_tuning
    if tuned is None:
        return None
    return float(adapter_parameters(scenario.model, tuned, scenario.plan.tp))


def state_bytes_per_parameter(scenario: Scenario) -> float:
    """Moments and master weights of a parameter, on average over the model."""
    optimizer, model = scenario.training.optimizer, scenario.model
    if optimizer.form == "full":
        return optimizer.state_bytes + optimizer.master_bytes
    tp = scenario.plan.tp
    parameters = model.num_layers * float(layer_rank_parameters(model, tp))
    moments = optimizer_state_bytes(
        model, optimizer, parameters=parameters, num_layers=model.num_layers, tp=tp
    )
    return float(moments) / parameters + optimizer.master_bytes


def layer_update_s(scenario: Scenario) -> float:
    """Seconds that a low-rank optimizer spends on one layer beside its moments.

    Projections of gradients, new projections where it finds them by SVD, and the update itself.

    Source: GaLore (arXiv 2403.03507), algorithm 2; APOLLO (arXiv 2412.05270), algorithm 1.
    """
    training, model, tp = scenario.training, scenario.model, scenario.plan.tp
    optimizer, accelerator = training.optimizer, scenario.cluster.node.accelerator
    if optimizer.form not in _PROJECTIONS:
        return 0.0
    precision = "bf16" if training.precision == "fp8" else training.precision
    element = BYTES_PER_ELEMENT[precision]
    seconds = float(svd_s(model, optimizer, tp))
    for name in layer_matrices(model):
        sides = [float(side) for side in rank_shape(model, name, tp)]
        short, long = min(sides), max(sides)
        shape = Matmul(min(optimizer.rank, short), long, short, element_bytes=element)
        product_s = float(matmul_s(shape, accelerator, precision))
        moved = _PASSES_PER_UPDATE * short * long * element
        seconds += _PROJECTIONS[optimizer.form] * product_s
        seconds += float(memory_bound_s(moved, "add", accelerator))
    return seconds


def trained_states(
    scenario: Scenario, costs: StepCosts, stages: tuple[int, ...], states: StateBytes
) -> StateBytes:
    """Model states of a rank with what partial training changes.

    Args:
        scenario: for its training.
        costs: knows the parameters of every stage.
        stages: that the rank holds.
        states: of plain training.
    """
    training, plan, model = scenario.training, scenario.plan, scenario.model
    optimizer = training.optimizer
    num_layers = costs.num_layers(stages)
    shard = plan.shard_size if plan.sharding.shard_weights else 1
    stored = (
        optimizer.weight_bytes
        if training.fine_tuning is None
        else STORED_BYTES.get(training.fine_tuning.base)
    )
    if stored is not None:
        in_layers = num_layers * layer_matrix_parameters(model) / plan.tp
        wide = bytes_per_weight(training.precision, fp8_only=scenario.stack.fp8_weights)
        states = replace(states, weights=states.weights - in_layers * (wide - stored) / shard)
    if training.fine_tuning is not None:
        added = model_state_bytes(
            costs.trained_parameters(stages),
            policy=plan.sharding,
            shard_size=plan.shard_size,
            optimizer=optimizer,
            weight_bytes=BYTES_PER_ELEMENT["bf16"]
            if training.precision == "fp8"
            else (BYTES_PER_ELEMENT[training.precision]),
        )
        return replace(added, weights=states.weights + added.weights)
    if optimizer.form != "full":
        moments = optimizer_state_bytes(
            model,
            optimizer,
            parameters=costs.rank_parameters(stages),
            num_layers=num_layers,
            tp=plan.tp,
        )
        divided = plan.shard_size if plan.sharding.shard_optimizer else 1
        states = replace(states, optimizer=moments / divided)
    if training.gradient_release == "layerwise":
        states = replace(states, gradients=_released_gradients(scenario, costs, stages))
    return states


def gathered_weight_bytes(scenario: Scenario) -> float:
    """Bytes that travel for a weight where weights are sharded, on average over the model.

    Frozen matrices that are gathered before use travel as they are stored, and are dequantised
    where they are used.

    Source: bitsandbytes, docs/source/fsdp_qlora.md: ``quant_storage`` lets FSDP shard and gather
        the packed weights.
    """
    training, model = scenario.training, scenario.model
    wide = max(BYTES_PER_ELEMENT[training.precision], scenario.stack.gather_bytes)
    tuned = training.fine_tuning
    stored = None if tuned is None else STORED_BYTES.get(tuned.base)
    if stored is None or scenario.plan.sharding.gather != "before_use":
        return wide
    matrices = model.num_layers * float(layer_matrix_parameters(model)) / num_parameters(model)
    return wide - matrices * (wide - stored)


def _released_gradients(scenario: Scenario, costs: StepCosts, stages: tuple[int, ...]) -> float:
    """Gradients of the largest layer or table; of the one before too, while it is reduced."""
    plan, model = scenario.plan, scenario.model
    kinds = [costs.kinds[stage] for stage in stages]
    table = largest_parameter(
        model, plan.tp, has_table=any(k.has_embedding or k.has_output for k in kinds)
    )
    largest = max(float(layer_rank_parameters(model, plan.tp)), float(table))
    alive = 2 if plan.overlap_dp and plan.dp * plan.cp > 1 else 1
    return alive * largest * scenario.training.optimizer.gradient_bytes


def trained_buffers(scenario: Scenario, buffers: BufferBytes, share: float) -> BufferBytes:
    """Buffers of gradients hold those of trained parameters, a ``share`` of all.

    Where gradients are freed layer by layer, those of one layer are widened at a time.
    """
    layers = 1.0
    if scenario.training.gradient_release == "layerwise":
        layers = max(scenario.model.num_layers / scenario.plan.pp, 1.0)
    elif scenario.training.fine_tuning is None:
        return buffers
    return replace(
        buffers,
        gradient_buckets=buffers.gradient_buckets * share,
        optimizer_step=buffers.optimizer_step * share / layers,
    )
