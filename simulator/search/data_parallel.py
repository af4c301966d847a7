"""Columns of seconds for what a step does outside its passes: reductions, gathers, optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from simulator.cost.footprint import padded_vocab
from simulator.cost.transfer import p2p_s
from simulator.numeric import FloatArray, IntArray, as_float, whole_ticks
from simulator.scenario import Scenario
from simulator.schedule.action import Schedule
from simulator.search.layout import Layout, layout_parameters
from simulator.workload.step_costs import StepCosts


@dataclass(frozen=True, slots=True)
class DataColumns:
    """Seconds of what happens outside the passes. [ranks or stages, columns].

    Attributes:
        reduce_rank_s, gather_rank_s, optimizer_s: of all stages of a rank.
        reduce_stage_s: reduction of one piece of a stage's last backward.
        reduce_whole_s, gather_stage_s: of a whole stage.
        gather_piece_s: of one layer of a stage whose weights are gathered before use, else 0.
        pieces: of the last backward where its reduction overlaps.
        tied_s: [columns], all-reduce of a tied table.
        has_tied: there is one.
    """

    reduce_rank_s: FloatArray
    gather_rank_s: FloatArray
    optimizer_s: FloatArray
    reduce_stage_s: FloatArray
    reduce_whole_s: FloatArray
    gather_stage_s: FloatArray
    gather_piece_s: FloatArray
    pieces: IntArray
    tied_s: FloatArray
    has_tied: bool

    def take(self, columns: IntArray) -> DataColumns:
        """Some of the columns."""
        names = [one.name for one in fields(self) if one.name != "has_tied"]
        taken = {name: getattr(self, name)[..., columns] for name in names}
        return replace(self, **taken)

    @classmethod
    def joined(cls, parts: Sequence[DataColumns]) -> DataColumns:
        """The columns of all parts, one after the other."""
        names = [one.name for one in fields(cls) if one.name != "has_tied"]
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in names
        }
        return cls(**columns, has_tied=parts[0].has_tied)


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
    layer_bytes = stage * costs.gather_bytes / layers
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
        reduce_rank_s=spread(ranks * costs.gradient_reduce_bytes, rank_class, "reduce"),
        gather_rank_s=spread(ranks * costs.gather_bytes, rank_class, "gather"),
        optimizer_s=spread(ranks, rank_class, "optimizer"),
        reduce_stage_s=spread(payload / pieces, stage_class, "reduce"),
        reduce_whole_s=spread(payload, stage_class, "reduce"),
        gather_stage_s=spread(stage * costs.gather_bytes, stage_class, "gather"),
        gather_piece_s=spread(layer_bytes, stage_class, "gather")
        if by_layer
        else np.zeros_like(stage),
        pieces=pieces,
        tied_s=whole_ticks(np.array(tied)),
        has_tied=has_tied,
    )


def _classes(kind: IntArray, values: FloatArray) -> tuple[IntArray, IntArray]:
    """(first row of every distinct row, which of them each row is)."""
    table = np.concatenate((kind.astype(np.float64), values), axis=1)
    _, firsts, inverse = np.unique(table, axis=0, return_index=True, return_inverse=True)
    return firsts, inverse.reshape(-1)
