"""Peak memory of candidates with the same pipeline, as columns.

A rank's passes run in a fixed order, so what it holds at once does not depend on when they run:
the high-water mark is that of ``engine/highwater``, found from counts of held microbatches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.memory import RankStatic
from simulator.numeric import FloatArray, IntArray
from simulator.schedule.action import Phase, Schedule
from simulator.schedule.analysis import peak_open
from simulator.search.prices import Layout, Prices
from simulator.search.space import SHARDING_NAMES, Candidates
from simulator.search.unique import codes, distinct
from simulator.sharding import SHARDING

_ACTIVATIONS = ("tp", "micro_batch_size", "sequence_parallel", "recompute", "recompute_layers")
"""Columns that size what a pass holds."""
_MANY = 400
"""Most states among which dominated ones are searched."""


@dataclass(frozen=True, slots=True)
class RankClass:
    """Ranks that hold the same stages.

    Attributes:
        rank: one of them.
        states: [states, 3 * kinds], how many microbatches of every kind are held, are in their
            backward, and wait for their weight pass, in the states that may be the peak.
    """

    rank: int
    states: IntArray


def rank_classes(schedule: Schedule, layout: Layout, *, apart: bool) -> tuple[RankClass, ...]:
    """The classes of a pipeline.

    Args:
        schedule: order of the passes.
        layout: kinds of the stages.
        apart: ranks that accumulate other whole gradients at once are other classes.
    """
    counts = _states(schedule, layout)
    members: dict[tuple[object, ...], list[int]] = {}
    sizes = np.array([1.0 + kind for kind in layout.kind_index.tolist()])
    for rank in range(schedule.num_ranks):
        own = layout.kind_index[schedule.stage_rank == rank]
        whole = peak_open(schedule, rank, sizes) if apart else 0.0
        members.setdefault((*own.tolist(), whole), []).append(rank)
    return tuple(
        RankClass(ranks[0], _maximal(counts[ranks].reshape(-1, counts.shape[2])))
        for ranks in members.values()
    )


def _states(schedule: Schedule, layout: Layout) -> IntArray:
    """What is held once every pass has begun. [ranks, actions, 3 * kinds]."""
    kind = layout.kind_index[schedule.stage]
    columns: list[IntArray] = []
    for index in range(len(layout.distinct)):
        own = kind == index
        begun, backward, weight = (
            np.cumsum(own & (schedule.phase == phase), axis=1) for phase in Phase
        )
        now_backward = own & (schedule.phase == Phase.B)
        now_weight = own & (schedule.phase == Phase.W)
        ended = backward - now_backward
        waiting = (ended - (weight - now_weight)) * schedule.splits_backward
        columns += [begun - ended, now_backward.astype(np.int64), waiting]
    return np.stack(columns, axis=2)


def _maximal(states: IntArray) -> IntArray:
    """The distinct states, without those that another one exceeds in every count."""
    _, first = np.unique(codes(list(states.T)), return_index=True)
    states = states[first]
    if len(states) > _MANY:
        return states
    exceeds = np.asarray((states[:, None] >= states[None]).all(axis=2))
    np.fill_diagonal(exceeds, val=False)
    return states[~exceeds.any(axis=0)]


def peak_bytes(
    candidates: Candidates, prices: Prices, schedule: Schedule, layout: Layout
) -> FloatArray:
    """Peak of the worst rank of candidates that agree in their pipeline. [candidates]."""
    shards = np.array([SHARDING[name].shard_gradients for name in SHARDING_NAMES])
    apart = shards[candidates.sharding] & (candidates.dp > 1) & (schedule.num_ranks > 1)
    peak = np.empty(len(candidates))
    for split in (False, True):
        rows = np.flatnonzero(apart == split)
        if rows.size:
            chosen = candidates.take(rows)
            sizes = _sizes(chosen, prices, layout)
            classes = rank_classes(schedule, layout, apart=split)
            per_class = [
                _class_peak(chosen, prices, schedule, layout, (one, sizes)) for one in classes
            ]
            peak[rows] = np.max(per_class, axis=0)
    return peak


def _sizes(candidates: Candidates, prices: Prices, layout: Layout) -> FloatArray:
    """Bytes held, taken by a backward, and kept for a weight pass. [3 * kinds, candidates]."""
    columns = candidates.columns()
    unique, inverse = distinct([columns[name] for name in _ACTIVATIONS])
    rows = [
        [
            size
            for kind in layout.distinct
            for size in prices.activations(
                kind, values[0], **dict(zip(_ACTIVATIONS[1:], values[1:], strict=True))
            )
        ]
        for values in unique.tolist()
    ]
    return np.array(rows).T[:, inverse]


def _class_peak(
    candidates: Candidates,
    prices: Prices,
    schedule: Schedule,
    layout: Layout,
    held: tuple[RankClass, FloatArray],
) -> FloatArray:
    """Peak of one class of ranks: the terms of ``memory.RankMemory``, in their order."""
    one, sizes = held
    activations = np.zeros(sizes.shape[1])
    for state in one.states.astype(np.float64):
        total = np.zeros(sizes.shape[1])
        for count, size in zip(state, sizes, strict=True):
            if count:
                total = total + count * size
        np.maximum(activations, total, out=activations)
    unique, inverse = distinct([candidates.tp, candidates.sharding, candidates.overlap_dp])
    rows = [
        _terms(prices.rank_static(tp, schedule, layout, one.rank, (sharding, beside)))
        for tp, sharding, beside in unique.tolist()
    ]
    states, during, in_optimizer, framework, communicators = np.array(rows).T[:, inverse]
    in_passes = activations + during >= in_optimizer
    activations = np.where(in_passes, activations, 0.0)
    buffers = np.where(in_passes, during, in_optimizer)
    lost = prices.base.stack.fragmentation * (activations + buffers)
    return states + activations + buffers + framework + communicators + lost


def _terms(static: RankStatic) -> tuple[float, ...]:
    states = static.states
    total = float(states.weights) + float(states.gradients) + float(states.optimizer)
    return (
        total + float(states.master_weights),
        static.during_passes,
        static.in_optimizer,
        static.framework,
        static.communicators,
    )
