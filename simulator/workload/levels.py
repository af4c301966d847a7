"""Levels of a dependency graph: the longest path to every op, counted in ops."""

from __future__ import annotations

import numpy as np

from simulator.numeric import IntArray


class CycleError(ValueError):
    """The dependencies form a cycle.

    Args:
        cycle: ops, each waiting for the next one, the last for the first.
    """

    def __init__(self, cycle: list[int]) -> None:
        self.cycle = cycle
        super().__init__(f"the ops {cycle} wait for each other")


def op_levels(ops: IntArray, preds: IntArray, stream_pred: IntArray) -> IntArray:
    """Level of every op: 0 without dependencies, else one more than its deepest dependency.

    Plain Python on purpose: graphs are deep and narrow (a pipeline has about one op per rank in
    a level), where a loop over ops beats array calls per level.

    Args:
        ops: [edges], the op that waits.
        preds: [edges], the op it waits for.
        stream_pred: [ops], previous op of the same stream, -1 for the first.

    Returns:
        [ops] levels.

    Raises:
        CycleError: if some ops wait for each other.
    """
    num_ops = stream_pred.size
    pending_count = np.bincount(ops, minlength=num_ops) + (stream_pred >= 0)
    stream_next = np.full(num_ops, -1, dtype=np.int64)
    followers = np.flatnonzero(stream_pred >= 0)
    stream_next[stream_pred[followers]] = followers

    waiting = ops[np.argsort(preds)].tolist()
    first = np.concatenate(([0], np.cumsum(np.bincount(preds, minlength=num_ops)))).tolist()
    following: list[int] = stream_next.tolist()
    pending: list[int] = pending_count.tolist()
    level_of: list[int] = [-1] * num_ops
    ready: list[int] = np.flatnonzero(pending_count == 0).tolist()
    level = 0
    while ready:
        released: list[int] = []
        for op in ready:
            level_of[op] = level
            follower = following[op]
            if follower >= 0:
                pending[follower] -= 1
                if not pending[follower]:
                    released.append(follower)
            for follower in waiting[first[op] : first[op + 1]]:
                pending[follower] -= 1
                if not pending[follower]:
                    released.append(follower)
        ready = released
        level += 1

    levels = np.array(level_of, dtype=np.int64)
    if num_ops and levels.min() < 0:
        raise CycleError(_find_cycle(levels < 0, ops, preds, stream_pred))
    return levels


def _find_cycle(
    stuck: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    ops: IntArray,
    preds: IntArray,
    stream_pred: IntArray,
) -> list[int]:
    """A cycle among the stuck ops: each of them waits for a stuck one, so walk until a repeat."""
    waits_for = np.where((stream_pred >= 0) & stuck[stream_pred], stream_pred, -1)
    blocked = stuck[ops] & stuck[preds]
    waits_for[ops[blocked]] = preds[blocked]
    position: dict[int, int] = {}
    op = int(np.flatnonzero(stuck)[0])
    while op not in position:
        position[op] = len(position)
        op = int(waits_for[op])
    return list(position)[position[op] :]
