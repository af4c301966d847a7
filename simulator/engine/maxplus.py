"""The op graph without contention, for one run or a batch: levelised longest path in numpy.

``end = max(end of dependencies) + duration``: with the order of every stream fixed this is exact
without shared resources, and a lower bound on any execution with them.

Inside, the batch is the last axis: one array call works on a whole level of a whole batch.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulator.engine.columns import level_columns
from simulator.numeric import FloatArray, IntArray
from simulator.workload.op import OpGraph

_WIDE_LEVEL = 16
"""Ops per level from which one run is faster level by level (10 us each in numpy) than op by op
(0.5 us each in Python). Source: benchmarks/speed/bench_engine.py."""

_CHUNK_BYTES = 256 * 2**20
"""Memory for the end times of one chunk of a batch. Rates level off at some 100 rows per chunk,
which a graph of 300,000 ops then still gets. Source: benchmarks/speed/bench_engine.py."""


def op_durations(
    graph: OpGraph, class_s: FloatArray, stream_scale: FloatArray | None = None
) -> FloatArray:
    """Seconds of every op: those of its class, times the scale of its stream.

    Args:
        graph: whose ops are meant.
        class_s: [..., classes].
        stream_scale: [..., streams], above 1 for a straggler; ops without a stream keep 1.

    Returns:
        [..., ops].
    """
    duration_s = class_s[..., graph.op_class]
    if stream_scale is None:
        return duration_s
    return duration_s * _with_no_stream(stream_scale)[..., graph.stream]


def solve(graph: OpGraph, duration_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Start and end of every op of one run.

    Args:
        graph: what to run.
        duration_s: [ops].

    Returns:
        ``(start_s, end_s)``, [ops] each.
    """
    if graph.num_ops < _WIDE_LEVEL * (graph.level_offsets.size - 1):
        return _solve_by_op(graph, duration_s)
    start_s = np.zeros(graph.num_ops)
    end_s = np.zeros(graph.num_ops)
    levels = level_columns(graph)
    _solve_levels(graph, levels, lambda first, end: duration_s[first:end], end_s, start_s=start_s)
    return start_s, end_s


def solve_batch(
    graph: OpGraph, duration_s: FloatArray, *, couple: bool = False, replicas: int | None = None
) -> FloatArray:
    """End of every op of a batch of runs.

    Args:
        graph: what every row runs.
        duration_s: [batch, ops].
        couple: the rows are the data-parallel replicas of one job: a coupled op starts in all of
            them when the last one is ready.
        replicas: with ``couple``, so many rows in a row are one job, and the batch holds several;
            all rows are one job if left out.

    Returns:
        [batch, ops] seconds; the makespan of every row is its maximum.
    """
    rows = np.ascontiguousarray(duration_s.T)
    end_s = np.zeros_like(rows)
    levels = level_columns(graph)
    group = (replicas or rows.shape[1]) if couple else 0
    _solve_levels(graph, levels, lambda first, end: rows[first:end], end_s, group=group)
    return end_s.T


def makespan_s(
    graph: OpGraph,
    class_s: FloatArray,
    *,
    stream_scale: FloatArray | None = None,
    couple: bool = False,
) -> FloatArray:
    """When the last op ends, for a batch of cost tables, in bounded memory.

    Equals ``solve_batch(graph, op_durations(graph, class_s, stream_scale)).max(axis=1)`` without
    ever holding the durations.

    Args:
        graph: what every row runs.
        class_s: [batch, classes].
        stream_scale: [batch, streams], see ``op_durations``.
        couple: see ``solve_batch``; the whole batch is then held in memory at once.

    Returns:
        [batch] seconds.
    """
    batch = class_s.shape[0]
    makespan = np.zeros(batch)
    if not graph.num_ops:
        return makespan
    levels = level_columns(graph)
    last_ops = _last_ops(graph)
    chunk = batch if couple else max(1, _CHUNK_BYTES // (8 * graph.num_ops))
    memory = np.empty(graph.num_ops * min(chunk, batch))
    for first in range(0, batch, chunk):
        rows = slice(first, min(first + chunk, batch))
        scale = None if stream_scale is None else stream_scale[rows]
        num_rows = rows.stop - rows.start
        # Contiguous whatever the number of rows: numpy would copy a strided array to take from it.
        end_s = memory[: graph.num_ops * num_rows].reshape(graph.num_ops, num_rows)
        durations = _durations(graph, class_s[rows], scale)
        _solve_levels(graph, levels, durations, end_s, group=num_rows if couple else 0)
        makespan[rows] = end_s[last_ops].max(axis=0)
    return makespan


def _with_no_stream(stream_scale: FloatArray) -> FloatArray:
    """A last column of ones, which the stream index -1 meets."""
    return np.concatenate((stream_scale, np.ones((*stream_scale.shape[:-1], 1))), axis=-1)


def _durations(
    graph: OpGraph, class_s: FloatArray, stream_scale: FloatArray | None
) -> Callable[[int, int], FloatArray]:
    """Durations [ops, batch] of a span of ops, looked up when asked for."""
    class_rows = np.ascontiguousarray(class_s.T)
    if stream_scale is None:
        return lambda first, end: class_rows.take(graph.op_class[first:end], axis=0)
    scale_rows = np.ascontiguousarray(_with_no_stream(stream_scale).T)
    return lambda first, end: (
        class_rows.take(graph.op_class[first:end], axis=0) * scale_rows[graph.stream[first:end]]
    )


def _last_ops(graph: OpGraph) -> IntArray:
    """Ops nothing depends on; one of them ends last."""
    is_last = np.ones(graph.num_ops, dtype=np.bool_)
    is_last[graph.preds] = False
    is_last[graph.stream_pred[graph.stream_pred >= 0]] = False
    return np.flatnonzero(is_last)


def _solve_levels(
    graph: OpGraph,
    levels: list[list[IntArray]],
    durations: Callable[[int, int], FloatArray],
    end_s: FloatArray,
    *,
    group: int = 0,
    start_s: FloatArray | None = None,
) -> None:
    """Fill ``end_s`` and, if given, ``start_s``: [ops] for one run, [ops, batch] for many.

    Coupled ops start together in every ``group`` rows of the batch; 0 couples nothing.
    """
    bounds: list[int] = graph.level_offsets.tolist()
    coupled = np.flatnonzero(graph.coupled if group else False)
    coupled_bounds: list[int] = np.searchsorted(coupled, graph.level_offsets).tolist()
    for level, columns in enumerate(levels):
        first, end = bounds[level], bounds[level + 1]
        ready_s = end_s[first:end]
        if columns:
            # "clip" never clips here; the other modes copy when given an ``out``.
            end_s.take(columns[0], axis=0, out=ready_s, mode="clip")
        else:
            ready_s.fill(0.0)
        for column in columns[1:]:
            waiting_s = ready_s[: column.size]
            np.maximum(waiting_s, end_s.take(column, axis=0), out=waiting_s)
        if coupled_bounds[level] < coupled_bounds[level + 1]:
            together = coupled[coupled_bounds[level] : coupled_bounds[level + 1]]
            jobs = end_s[together].reshape(together.size, -1, group)
            jobs[:] = jobs.max(axis=-1, keepdims=True)
            end_s[together] = jobs.reshape(together.size, -1)
        if start_s is not None:
            start_s[first:end] = ready_s
        ready_s += durations(first, end)


def _solve_by_op(graph: OpGraph, duration_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """One run of a deep, narrow graph, as a plain loop over the ops."""
    preds: list[int] = graph.preds.tolist()
    bounds: list[int] = graph.pred_offsets.tolist()
    stream_preds: list[int] = graph.stream_pred.tolist()
    durations: list[float] = duration_s.tolist()
    start_s = [0.0] * graph.num_ops
    end_s = [0.0] * (graph.num_ops + 1)  # the last one stands for "no predecessor", index -1
    for op, duration in enumerate(durations):
        ready = end_s[stream_preds[op]]
        for pred in preds[bounds[op] : bounds[op + 1]]:
            end = end_s[pred]
            if end > ready:  # ``max`` would be a call for every edge
                ready = end
        start_s[op] = ready
        end_s[op] = ready + duration
    return np.array(start_s), np.array(end_s[:-1])
