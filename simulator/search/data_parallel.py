"""Columns of seconds for what a step does outside its passes: reductions, gathers, optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from simulator.cost.footprint import padded_vocab
from simulator.cost.transfer import p2p_s
from simulator.numeric import FloatArray, IntArray, as_float, whole_ticks
from simulator.scenario import Scenario
from simulator.schedule.action import Schedule
from simulator.search.layout import Layout, layout_parameters
from simulator.workload.step_costs import StepCosts


@dataclass(frozen=True, slots=True)
class RankColumns:
    """Of all stages of a rank together. [ranks, columns].

    Attributes:
        reduce_s, gather_s, optimizer_s: reduction, gather after the step, optimizer.
        lead_gather_s: gathers of the stages up to that of the first pass.
        layer_gathers_s: gathers of a microbatch where weights are gathered before use, else 0.
        tied_s: [columns], all-reduce of a tied table, 0 where there is none.
    """

    reduce_s: FloatArray
    gather_s: FloatArray
    optimizer_s: FloatArray
    lead_gather_s: FloatArray
    layer_gathers_s: FloatArray
    tied_s: FloatArray


@dataclass(frozen=True, slots=True)
class StageColumns:
    """Of one stage. [stages, columns].

    Attributes:
        reduce_s, gather_s: of the whole stage.
        reduce_piece_s: reduction of one piece of its last backward.
        pieces: of the last backward where its reduction overlaps.
    """

    reduce_s: FloatArray
    gather_s: FloatArray
    reduce_piece_s: FloatArray
    pieces: IntArray


@dataclass(frozen=True, slots=True)
class DataColumns:
    """Seconds of what happens outside the passes.

    Attributes:
        has_tied: a table on the first and the last rank is one.
    """

    ranks: RankColumns
    stages: StageColumns
    has_tied: bool

    def take(self, columns: IntArray) -> DataColumns:
        """Some of the columns."""
        return DataColumns(self.ranks_of(columns), self.stages_of(columns), self.has_tied)

    def ranks_of(self, columns: IntArray) -> RankColumns:
        """Some of the columns, of ranks only."""
        names = [one.name for one in fields(RankColumns)]
        return RankColumns(**{name: getattr(self.ranks, name)[..., columns] for name in names})

    def stages_of(self, columns: IntArray) -> StageColumns:
        """Some of the columns, of stages only."""
        names = [one.name for one in fields(StageColumns)]
        return StageColumns(**{name: getattr(self.stages, name)[..., columns] for name in names})

    @classmethod
    def joined(cls, parts: Sequence[DataColumns]) -> DataColumns:
        """The columns of all parts, one after the other."""
        ranks = {
            one.name: np.concatenate([getattr(part.ranks, one.name) for part in parts], axis=-1)
            for one in fields(RankColumns)
        }
        stages = {
            one.name: np.concatenate([getattr(part.stages, one.name) for part in parts], axis=-1)
            for one in fields(StageColumns)
        }
        return cls(RankColumns(**ranks), StageColumns(**stages), parts[0].has_tied)


def data_columns(
    costs: StepCosts,
    each: Sequence[StepCosts],
    schedule: Schedule,
    layout: Layout,
    tps: FloatArray,
    base: Scenario,
) -> DataColumns:
    """Prices every distinct stage and rank, a column per tp, and spreads them."""
    stage = layout_parameters(base, layout, tps, schedule)
    stages_of = [np.flatnonzero(schedule.stage_rank == rank) for rank in range(schedule.num_ranks)]
    ranks = np.array([sum(stage[s] for s in own.tolist()) for own in stages_of])
    layers = np.array([max(kind.num_layers, 1) for kind in layout.kinds])[:, None]
    payload = stage * costs.gradient_reduce_bytes
    buckets = np.ceil(payload / costs.plan.bucket_bytes).astype(np.int64)
    pieces = np.clip(buckets, 1, layers)
    stage_class = _classes(layout.kind_index[:, None], stage)
    rank_class = _classes(np.zeros((len(ranks), 1), dtype=np.int64), ranks)

    def spread(values: FloatArray, classes: tuple[IntArray, IntArray], how: str) -> FloatArray:
        firsts, inverse = classes
        one = values[firsts]
        seconds = {
            "reduce": costs.reduce_s,
            "gather": costs.gather_s,
            "optimizer": costs.optimizer_s,
        }[how](one)
        return whole_ticks(np.broadcast_to(seconds, one.shape))[inverse]

    by_layer = costs.plan.sharding.gather == "before_use"
    layers_s = np.zeros_like(stage)
    if by_layer:
        layers_s = 2 * layers * spread(stage * costs.gather_bytes / layers, stage_class, "gather")
    gather_s = spread(stage * costs.gather_bytes, stage_class, "gather")
    first = schedule.stage[:, 0]
    ends = each[0].links.ends
    has_tied = base.model.tied_embeddings and ends is not None
    has_tied = has_tied and bool(schedule.stage_rank[0] != schedule.stage_rank[-1])
    table = padded_vocab(base.model.vocab_size, tps) / tps * base.model.hidden_size
    tied = [
        as_float(p2p_s(float(size) * costs.gradient_reduce_bytes, one.links.ends))
        if has_tied and one.links.ends is not None
        else 0.0
        for size, one in zip(table, each, strict=True)
    ]
    return DataColumns(
        RankColumns(
            reduce_s=spread(ranks * costs.gradient_reduce_bytes, rank_class, "reduce"),
            gather_s=spread(ranks * costs.gather_bytes, rank_class, "gather"),
            optimizer_s=spread(ranks, rank_class, "optimizer"),
            lead_gather_s=np.array(
                [
                    gather_s[own[own <= at]].sum(axis=0)
                    for own, at in zip(stages_of, first, strict=True)
                ]
            ),
            layer_gathers_s=np.array([layers_s[own].sum(axis=0) for own in stages_of]),
            tied_s=whole_ticks(np.array(tied)),
        ),
        StageColumns(
            reduce_s=spread(payload, stage_class, "reduce"),
            gather_s=gather_s,
            reduce_piece_s=spread(payload / pieces, stage_class, "reduce"),
            pieces=pieces,
        ),
        has_tied,
    )


def _classes(kind: IntArray, values: FloatArray) -> tuple[IntArray, IntArray]:
    """(first row of every distinct row, which of them each row is)."""
    table = np.concatenate((kind.astype(np.float64), values), axis=1)
    _, firsts, inverse = np.unique(table, axis=0, return_index=True, return_inverse=True)
    return firsts, inverse.reshape(-1)
