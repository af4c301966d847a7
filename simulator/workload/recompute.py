"""Which kernels the backward pass runs again, by recompute mode."""

from __future__ import annotations

from dataclasses import replace

from simulator.model import TransformerConfig
from simulator.plan import Recompute
from simulator.stack import Stack
from simulator.workload.kernel import Block, Elementwise, Kernel, Matmul, Overlapped


def recomputed_kernels(
    layer: Block, recompute: Recompute, stack: Stack, model: TransformerConfig
) -> tuple[Kernel, ...]:
    """Kernels that run again in the backward of a layer that recomputes."""
    match recompute.mode:
        case "none":
            return ()
        case "selective":
            return layer.core
        case "alternate":
            return _every_second(layer.forward, model)
        case "full":
            return _layer_again(layer.forward, recompute, stack)


def recomputing_layers(num_layers: int, recompute: Recompute) -> int:
    """How many of a stage's layers recompute."""
    return num_layers if recompute.num_layers is None else min(recompute.num_layers, num_layers)


def _every_second(forward: tuple[Kernel, ...], model: TransformerConfig) -> tuple[Kernel, ...]:
    """Elementwise kernels up to the layer's last product, and every second linear product.

    Of query, key, value, output, gate, up and down these are key, output and up; without a gate,
    key and output, as the last product is read by nothing. Fused attention is kept.

    Source: pytorch/torchtitan@0596be3a, torchtitan/models/llama/parallelize_llama.py, _save_list.
    Assumes: no tensor parallelism, so that products stand alone.
    """
    key_value = model.key_value_size
    shares = {
        "qkv": key_value / (model.query_size + 2 * key_value),
        "attention_out": 1.0,
        "mlp_in": 0.5 if model.gated_mlp else 0.0,
    }
    again: list[Kernel] = []
    for kernel in forward:
        match kernel:
            case Matmul(name="mlp_out"):
                break
            case Matmul(name=name) if shares.get(name):
                again.append(replace(kernel, n=kernel.n * shares[name]))
            case Elementwise():
                again.append(kernel)
            case _:
                pass
    return tuple(again)


def _layer_again(
    forward: tuple[Kernel, ...], recompute: Recompute, stack: Stack
) -> tuple[Kernel, ...]:
    """The kernels of a layer that full recomputation runs."""
    products = [i for i, kernel in enumerate(forward) if isinstance(kernel, Matmul | Overlapped)]
    last = products[-1] if stack.recompute_stops_early else len(forward)
    kept = products[0] if recompute.keeps_qkv else -1
    return tuple(kernel for i, kernel in enumerate(forward[:last]) if i != kept)
