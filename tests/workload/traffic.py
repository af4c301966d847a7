"""What data parallelism moves over each level of the machine in a step, for laws of volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simulator.cost.collective import bus_bytes
from simulator.numeric import Numeric, as_float
from simulator.workload.data_moves import Move, network_bytes
from simulator.workload.op import OpGraph


def node_bytes(move: Move) -> Numeric:
    """Bytes that one rank sends over the links inside its node for a move.

    Of the ring's hops, one per node goes to another node.
    """
    link = move.link
    per_node = link.size / link.num_nodes
    if move.kind == "all_to_all":
        return move.payload_bytes * (per_node - 1.0) / link.size
    sent = bus_bytes(move.kind, move.payload_bytes, link.size)
    leaves = np.where(np.asarray(link.num_nodes) > 1, 1.0 / per_node, 0.0)
    return (sent * (1.0 - leaves))[()]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that one rank sends in a step for gathers of weights and reductions of gradients.

    Attributes:
        node_bytes: over links inside its node.
        network_bytes: its share of what the NICs of its node send.
        kernel_bytes: read and written in its memory by kernels that quantise and copy.
    """

    node_bytes: float
    network_bytes: float
    kernel_bytes: float


def data_traffic(graph: OpGraph, moves: Mapping[int, tuple[Move, ...]], rank: int = 0) -> Traffic:
    """The traffic of a pipeline rank.

    Args:
        graph: of the step.
        moves: what each row of its cost table moves (``StepCosts.moves``).
        rank: pipeline rank, of the first replica in the graph.
    """
    own = [i for i, one in enumerate(graph.streams) if one.rank == rank and one.replica == 0]
    rows = graph.op_class[np.isin(graph.stream, own)]
    sent = [
        (
            count * as_float(node_bytes(move)),
            count * as_float(network_bytes(move)),
            count * as_float(move.kernel_bytes),
        )
        for row, count in zip(*np.unique(rows, return_counts=True), strict=True)
        for move in moves.get(int(row), ())
    ]
    return Traffic(*(float(sum(column)) for column in zip(*sent, strict=True))) if sent else _NONE


_NONE = Traffic(0.0, 0.0, 0.0)
