"""The dependencies of a graph as columns per level, the form in which max-plus reads them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from simulator.numeric import IntArray
from simulator.workload.op import OpGraph


def level_columns(graph: OpGraph) -> list[list[IntArray]]:
    """For every level its columns; column k is the k-th dependency of each op that has so many.

    The ops of a level are sorted by falling number of dependencies, so a column belongs to the
    first ``column.size`` ops of its level, without padding. Stream order counts as a dependency.
    """
    followers = np.flatnonzero(graph.stream_pred >= 0)
    num_edges = np.diff(graph.pred_offsets)
    num_preds = num_edges + (graph.stream_pred >= 0)

    # Every dependency: its op, which one of the op it is, what it points to.
    op_of_edge = np.repeat(np.arange(graph.num_ops), num_edges)
    nth_of_edge = np.arange(graph.preds.size) - graph.pred_offsets[op_of_edge]
    op = np.concatenate((op_of_edge, followers))
    nth = np.concatenate((nth_of_edge, num_edges[followers]))
    pred = np.concatenate((graph.preds, graph.stream_pred[followers]))

    # The first op of a level has the most dependencies: as many columns as the level needs.
    first_op = graph.level_offsets[:-1]
    level = np.repeat(np.arange(first_op.size), np.diff(graph.level_offsets))[op]
    first_column = _offsets(num_preds[first_op])
    column = first_column[level] + nth
    bounds = _offsets(np.bincount(column, minlength=int(first_column[-1])))
    by_column = np.empty_like(pred)
    by_column[bounds[column] + op - first_op[level]] = pred

    columns = [by_column[a:b] for a, b in _spans(bounds)]
    return [columns[a:b] for a, b in _spans(first_column)]


def _offsets(counts: IntArray) -> IntArray:
    """[n + 1] where the groups of these sizes start."""
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))


def _spans(offsets: IntArray) -> list[tuple[int, int]]:
    return list(pairwise(offsets.tolist()))
