"""The memory high-water mark of a rank: what its ops hold, followed along a timeline."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from simulator.engine.timeline import Timeline
from simulator.numeric import FloatArray, IntArray
from simulator.workload.op import OpGraph, OpPhase

MAX_HISTORY: Final = 120
"""Points kept for plots."""

ROUNDING: Final = 1e-9
"""Relative error allowed for a running sum of about 1e6 float64 terms."""


@dataclass(frozen=True, slots=True)
class HighWater:
    """What the ops of one rank hold over the step, on top of what is always there.

    Attributes:
        peak_bytes: the most that is held at once.
        peak_at_s: the first moment at which it is.
        inflight: forwards (stage, microbatch) begun and not yet released at that moment.
        history_s, history_bytes: the curve in steps, at most ``MAX_HISTORY`` points, the peak
            among them; from ``history_s[i]`` on, ``history_bytes[i]`` are held.
    """

    peak_bytes: float
    peak_at_s: float
    inflight: int
    history_s: tuple[float, ...]
    history_bytes: tuple[float, ...]


def high_water(
    timeline: Timeline,
    alloc_bytes: FloatArray,
    free_bytes: FloatArray,
    *,
    rank: int,
    replica: int = 0,
    ops: IntArray | None = None,
) -> HighWater:
    """Follow the memory of a pipeline rank: an op acquires at its start, releases at its end.

    Args:
        timeline: the executed graph.
        alloc_bytes: [classes], what an op of a class acquires when it starts.
        free_bytes: [classes], what it releases when it ends.
        rank: pipeline rank; the ops of all its streams count.
        replica: data-parallel replica, 0 in a folded graph.
        ops: the rank's ops, where the caller has them already (``rank_ops``).

    Assumes: at one moment, releases come before acquisitions, as on a stream where one op ends
        and the next starts. An op of no duration that both acquires and releases is not seen.
    """
    graph = timeline.graph
    ops = rank_ops(graph, replica)[rank] if ops is None else ops
    acquired, released = alloc_bytes[graph.op_class[ops]], free_bytes[graph.op_class[ops]]
    starts, ends = ops[acquired != 0], ops[released != 0]
    time_s = np.concatenate(([0.0], timeline.end_s[ends], timeline.start_s[starts]))
    change = np.concatenate(([0.0], -released[released != 0], acquired[acquired != 0]))
    # Releases stand first in the arrays, so a stable sort keeps them first at equal times.
    order = np.argsort(time_s, kind="stable")
    time_s, held_bytes = time_s[order], np.cumsum(change[order])
    # Equal peaks differ by rounding of the running sum; the first of them is the answer.
    peak = int(np.argmax(held_bytes >= held_bytes.max() * (1 - ROUNDING)))
    peak_at_s = float(time_s[peak])
    kept = _thin(held_bytes)
    return HighWater(
        peak_bytes=float(held_bytes[peak]),
        peak_at_s=peak_at_s,
        inflight=_inflight(timeline, ops, peak_at_s),
        history_s=tuple(map(float, time_s[kept])),
        history_bytes=tuple(map(float, held_bytes[kept])),
    )


def rank_ops(graph: OpGraph, replica: int = 0) -> tuple[IntArray, ...]:
    """Ops on the streams of every pipeline rank of a replica, found in one pass over the graph."""
    num_ranks = 1 + max((stream.rank for stream in graph.streams), default=0)
    # The last entries answer for other replicas and for ops without a stream, whose index is -1.
    ranks = [s.rank if s.replica == replica else num_ranks for s in graph.streams]
    rank = np.array([*ranks, num_ranks], dtype=np.int64)[graph.stream]
    by_rank = np.argsort(rank, kind="stable")
    bounds = np.searchsorted(rank[by_rank], np.arange(num_ranks + 1))
    return tuple(by_rank[first:end] for first, end in pairwise(bounds.tolist()))


def _inflight(timeline: Timeline, ops: IntArray, at_s: float) -> int:
    """(stage, microbatch) pairs whose forward has begun and whose last backward has not ended."""
    graph = timeline.graph
    phase = graph.phase[ops]
    last = OpPhase.W if bool(np.any(phase == OpPhase.W)) else OpPhase.B
    pair = graph.stage[ops] * (1 + graph.microbatch[ops].max(initial=0)) + graph.microbatch[ops]
    begun = (phase == OpPhase.F) & (timeline.start_s[ops] <= at_s)
    backward = phase == last
    open_backward = backward & (timeline.end_s[ops] > at_s)
    num_released = np.unique(pair[backward]).size - np.unique(pair[open_backward]).size
    return int(np.unique(pair[begun]).size - num_released)


def _thin(held_bytes: FloatArray) -> list[int]:
    """Indices of at most ``MAX_HISTORY`` points: both ends and the highest of equal runs."""
    num_points = held_bytes.size
    if num_points <= MAX_HISTORY:
        return list(range(num_points))
    edges = np.linspace(0, num_points, MAX_HISTORY - 1, dtype=np.int64)
    run_peak = np.repeat(np.maximum.reduceat(held_bytes, edges[:-1]), np.diff(edges))
    at_peak = np.flatnonzero(held_bytes == run_peak)
    highest = at_peak[np.searchsorted(at_peak, edges[:-1])]  # the first one of every run
    return sorted({0, *highest.tolist(), num_points - 1})
