"""Weights that are gathered one by one, as lists of shards, the way DeepSpeed's first ZeRO-3 did.

``torch.distributed.all_gather`` takes one output tensor per rank. NCCL gathers into one buffer, out
of which every entry of the list is copied; a reduce-scatter copies its list into such a buffer
first. So every weight costs the host and the device one operation per rank, however small its
shard, and every weight is a collective with the latency of a ring through all ranks.

Source: microsoft/DeepSpeed v0.3, deepspeed/runtime/zero/partition_parameters.py
    (``_allgather_param``, ``_reduce_scatter_gradient``) and stage3.py
    (``PartitionedParameterCoordinator``); PyTorch, c10d/ProcessGroupNCCL.cpp (``allgather``).
"""

from __future__ import annotations

from simulator.cost.memory_bound import memory_bound_s
from simulator.machine import Accelerator
from simulator.model import TransformerConfig
from simulator.numeric import Numeric
from simulator.stack import Stack

_GATHER_PASSES, _REDUCE_PASSES = 3.0, 2.0
"""Reads and writes of a whole weight beside NCCL's own: an all-gather fills its tensor with zeros
and copies the shards into it, a reduce-scatter copies the shards out of the gradient."""


def matrix_sizes(model: TransformerConfig) -> tuple[float, ...]:
    """Parameters of the matrices of one layer, in the order of their use.

    Source: microsoft/DeepSpeed v0.3, runtime/zero/stage3.py: vectors stay whole, as they are below
        ``stage3_param_persistence_threshold``, 1e5.
    """
    hidden, ffn = float(model.hidden_size), float(model.ffn_hidden_size)
    inputs = 2.0 if model.gated_mlp else 1.0
    return (
        hidden * (model.query_size + 2.0 * model.key_value_size),
        hidden * model.query_size,
        hidden * ffn * inputs,
        hidden * ffn,
    )


def list_copies_s(
    payload_bytes: Numeric, num_ranks: Numeric, accelerator: Accelerator, *, reduces: bool
) -> Numeric:
    """Device time of the copies around one collective of a list: one kernel per rank.

    t = ranks * launch + passes * payload / copy bandwidth, 3 passes around a gather, 2 around a
    reduction.

    Source: microsoft/DeepSpeed v0.3, partition_parameters.py (``_allgather_param``: zeros; views
        of them as the list) and PyTorch, c10d/ProcessGroupNCCL.cpp (one copy per entry).
    """
    passes = _REDUCE_PASSES if reduces else _GATHER_PASSES
    return memory_bound_s(passes * payload_bytes, "copy", accelerator, num_ranks)


def list_host_s(num_lists: Numeric, num_ranks: Numeric, stack: Stack) -> Numeric:
    """Host time of so many lists of one shard per rank.

    Source: microsoft/DeepSpeed v0.3, ``_allgather_param`` synchronises the device before it
        builds its list, so that the host has no lead.
    """
    return stack.list_entry_s * num_ranks * num_lists
