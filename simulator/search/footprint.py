"""Peak memory of candidates with the same pipeline, as columns.

A rank's passes run in a fixed order, so what it holds at once does not depend on when they run:
the high-water mark is that of ``engine/highwater``, found from counts of held microbatches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.numeric import BoolArray, FloatArray, IntArray
from simulator.schedule.action import Phase, Schedule
from simulator.search.batch import Batch
from simulator.search.layout import Pipeline
from simulator.search.policies import shards_gradients
from simulator.search.prices import Branch, Policy
from simulator.search.unique import codes, distinct

_MOST_COMPARED: Final = 400
"""Most states that are compared in pairs: more would cost more than the sums they save."""


@dataclass(frozen=True, slots=True)
class RankClass:
    """Ranks that hold the same kinds of stage.

    Attributes:
        stages: of one of them.
        states: [states, 3 * kinds], how many microbatches of every kind are held, are in their
            backward, and wait for their weight pass, in the states that may be the peak.
        open_sets: [sets, own stages], stages whose gradients are accumulated at once.
    """

    stages: IntArray
    states: IntArray
    open_sets: BoolArray


def rank_classes(pipeline: Pipeline, counts: IntArray, *, apart: bool) -> tuple[RankClass, ...]:
    """The classes of a pipeline.

    Args:
        pipeline: order of the passes and kinds of the stages.
        counts: [ranks, actions, 3 * kinds], see ``_states``.
        apart: ranks that accumulate other whole gradients at once are other classes.
    """
    schedule, layout = pipeline.schedule, pipeline.layout
    members: dict[tuple[object, ...], list[int]] = {}
    sets: dict[int, BoolArray] = {}
    for rank in range(schedule.num_ranks):
        own = np.flatnonzero(schedule.stage_rank == rank)
        sets[rank] = open_sets(schedule, rank, own) if apart else np.zeros((1, own.size), np.bool_)
        key = (*layout.kind_index[own].tolist(), sets[rank].tobytes())
        members.setdefault(key, []).append(rank)
    return tuple(
        RankClass(
            np.flatnonzero(schedule.stage_rank == ranks[0]),
            undominated(counts[ranks].reshape(-1, counts.shape[2])),
            sets[ranks[0]],
        )
        for ranks in members.values()
    )


def open_sets(schedule: Schedule, rank: int, own: IntArray) -> BoolArray:
    """Stages of a rank whose backwards have begun and not ended, at every begin.

    As ``schedule.analysis.peak_open``. [own stages, own stages].
    """
    last = Phase.W if schedule.splits_backward else Phase.B
    in_last = np.flatnonzero(schedule.phase[rank] == last)
    stage = schedule.stage[rank][in_last]
    begun = np.array([in_last[np.argmax(stage == s)] for s in own.tolist()])
    ended = np.array([in_last[stage.size - 1 - np.argmax(stage[::-1] == s)] for s in own.tolist()])
    return np.asarray((begun <= begun[:, None]) & (ended >= begun[:, None]))


def _states(pipeline: Pipeline) -> IntArray:
    """What is held once every pass has begun. [ranks, actions, 3 * kinds]."""
    schedule, layout = pipeline.schedule, pipeline.layout
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


def undominated(states: IntArray) -> IntArray:
    """The distinct states, without those that another one reaches in every count."""
    _, first = np.unique(codes(list(states.T)), return_index=True)
    states = states[first]
    if len(states) > _MOST_COMPARED:
        return states
    exceeds = np.asarray((states[:, None] >= states[None]).all(axis=2))
    np.fill_diagonal(exceeds, val=False)
    return states[~exceeds.any(axis=0)]


def peak_bytes(batch: Batch) -> FloatArray:
    """Peak of the worst rank. [candidates]."""
    apart = shards_gradients(batch.candidates) & (batch.schedule.num_ranks > 1)
    sizes = _sizes(batch)
    peak = np.empty(len(batch))
    counts = _states(batch.pipeline)
    for split in (False, True):
        rows = np.flatnonzero(apart == split)
        if rows.size:
            part, classes = batch.take(rows), rank_classes(batch.pipeline, counts, apart=split)
            per_class = [_class_peak(part, one, sizes[:, rows]) for one in classes]
            peak[rows] = np.max(per_class, axis=0)
    return peak


def _sizes(batch: Batch) -> FloatArray:
    """Bytes held, taken by a backward, and kept for a weight pass. [3 * kinds, candidates]."""
    candidates = batch.candidates
    unique, inverse = distinct(
        [
            (candidates.tp > 1).astype(np.int64),
            candidates.sequence_parallel,
            candidates.recompute,
            candidates.recompute_layers,
        ]
    )
    rows = [
        np.concatenate(
            [
                batch.prices.activations(
                    kind,
                    Branch(bool(has_tp), bool(sequence), overlap_tp=False, splits=False),
                    mode,
                    layers,
                )
                for kind in batch.layout.distinct
            ]
        )
        for has_tp, sequence, mode, layers in unique.tolist()
    ]
    return np.stack(rows, axis=1)[:, inverse, batch.spot]


def _class_peak(batch: Batch, one: RankClass, sizes: FloatArray) -> FloatArray:
    """Peak of one class of ranks: the terms of ``memory.RankMemory``, in their order."""
    activations = np.zeros(sizes.shape[1])
    for state in one.states.astype(np.float64):
        total = np.zeros(sizes.shape[1])
        for count, size in zip(state, sizes, strict=True):
            if count:
                total = total + count * size
        np.maximum(activations, total, out=activations)
    candidates = batch.candidates
    unique, inverse = distinct([candidates.tp, candidates.sharding, candidates.overlap_dp])
    terms: FloatArray = np.array(_terms(unique, batch, one)).T[:, inverse]
    states, during, in_optimizer, framework, communicators = terms
    in_passes = activations + during >= in_optimizer
    activations = np.where(in_passes, activations, 0.0)
    buffers = in_optimizer.copy()
    buffers[in_passes] = during[in_passes]
    lost = batch.prices.base.stack.fragmentation * (activations + buffers)
    return states + activations + buffers + framework + communicators + lost


def _terms(policies: IntArray, batch: Batch, one: RankClass) -> list[tuple[float, ...]]:
    """States, buffers in passes and in the optimizer, framework, communicators.

    Args:
        policies: [policies, 3], tp, sharding and overlap of data parallelism.
        batch: its pipeline and prices count.
        one: class of the rank.
    """
    prices, pipeline = batch.prices, batch.pipeline
    own_stages: list[int] = one.stages.tolist()
    stages = tuple(pipeline.layout.kinds[stage] for stage in own_stages)
    rows: list[tuple[float, ...]] = []
    for tp, sharding, overlap_dp in policies.tolist():
        own = prices.stage_parameters(pipeline, tp)[one.stages]
        static = prices.rank_static(
            tp,
            pipeline.schedule.num_ranks,
            stages,
            Policy(sharding, overlap_dp),
            float((one.open_sets @ own).max(initial=0.0)),
            ends_share_rank=pipeline.ends_share_rank,
        )
        states = static.states
        total = float(states.weights) + float(states.gradients) + float(states.optimizer)
        rows.append(
            (
                total + float(states.master_weights),
                static.during_passes,
                static.in_optimizer,
                static.framework,
                static.communicators,
            )
        )
    return rows
