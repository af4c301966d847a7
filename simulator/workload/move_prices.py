"""Time of gathers and reductions: their collectives, and the kernels around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.cost.collective import CollectiveKind, collective_s
from simulator.cost.memory_bound import memory_bound_s
from simulator.machine import GroupLink
from simulator.numeric import Numeric
from simulator.workload.data_moves import Move
from simulator.workload.listed_weights import list_copies_s
from simulator.workload.price import PriceContext


def moves_s(
    moves: Sequence[Move], context: PriceContext, *, matrices: Sequence[float] = ()
) -> Numeric:
    """Collectives one after the other, without the kernels around them.

    Args:
        moves: in their order.
        context: where they run.
        matrices: sizes of a layer's, where each travels by itself as a list of shards.
    """
    seconds: Numeric = 0.0
    for move in moves:
        seconds = seconds + _move_s(move, context, matrices)
    return seconds


def kernels_s(moves: Sequence[Move], context: PriceContext) -> Numeric:
    """Kernels that quantise, dequantise and copy around the moves, as fast as copies.

    Assumes: they reach the bandwidth of a copy kernel; no measurement of them was found.
    """
    seconds: Numeric = 0.0
    for move in moves:
        seconds = seconds + memory_bound_s(
            move.kernel_bytes, "copy", context.accelerator, move.num_kernels
        )
    return seconds * context.stack.memory_scale


def _move_s(move: Move, context: PriceContext, matrices: Sequence[float]) -> Numeric:
    if matrices and move.kind != "all_reduce":
        return _lists_s(move, context, matrices)
    return _collective_s(move.kind, move.payload_bytes, move.link, context)


def _lists_s(move: Move, context: PriceContext, matrices: Sequence[float]) -> Numeric:
    reduces = move.kind == "reduce_scatter"
    seconds: Numeric = 0.0
    for size in matrices:
        part = move.payload_bytes * size / sum(matrices)
        seconds = seconds + _collective_s(move.kind, part, move.link, context)
        seconds = seconds + list_copies_s(
            part, move.link.size, context.accelerator, reduces=reduces
        )
    return seconds


def _collective_s(
    kind: CollectiveKind, payload: Numeric, link: GroupLink, context: PriceContext
) -> Numeric:
    slow_down = np.where(np.asarray(link.num_nodes) > 1, 1 / context.stack.network_scale, 1.0)
    return collective_s(kind, payload, link) * slow_down
