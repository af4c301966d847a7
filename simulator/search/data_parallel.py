"""Columns of seconds for what a step does outside its passes: reductions, gathers, optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from simulator.cost.footprint import padded_vocab
from simulator.cost.transfer import p2p_s
from simulator.machine import PathLink
from simulator.model import TransformerConfig
from simulator.numeric import FloatArray, IntArray, Numeric, as_float, whole_ticks
from simulator.scenario import Scenario
from simulator.search.layout import Layout, Pipeline, layout_parameters
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


@dataclass(frozen=True, slots=True)
class _Classes:
    """Equal rows of a table, to be priced once.

    Attributes:
        first: first row of every distinct row.
        inverse: [rows], which of them every row is.
    """

    first: IntArray
    inverse: IntArray

    @classmethod
    def of(cls, kind: IntArray, values: FloatArray) -> _Classes:
        """Rows alike in kind and in all values."""
        table = np.concatenate((kind[:, None].astype(np.float64), values), axis=1)
        _, first, inverse = np.unique(table, axis=0, return_index=True, return_inverse=True)
        return cls(first, inverse.reshape(-1))

    def priced(self, price: Callable[[FloatArray], Numeric], values: FloatArray) -> FloatArray:
        """Whole ticks of every row of values. [rows, columns]."""
        once = values[self.first]
        return whole_ticks(np.broadcast_to(price(once), once.shape))[self.inverse]


def data_columns(
    costs: StepCosts,
    tied_links: Sequence[PathLink | None],
    pipeline: Pipeline,
    tps: FloatArray,
    base: Scenario,
) -> DataColumns:
    """Prices every distinct stage and rank, a column per tp, and spreads them.

    Args:
        costs: prices whose links are columns, one per tp.
        tied_links: [tps], path between the ranks of a tied table.
        pipeline: on which the model lies.
        tps: tensor-parallel degrees.
        base: what they do not change.
    """
    parameters = layout_parameters(base, pipeline, tps)
    stages = _stage_columns(costs, pipeline.layout, parameters)
    stage_rank = pipeline.schedule.stage_rank
    has_tied = base.model.tied_embeddings and tied_links[0] is not None
    has_tied = has_tied and bool(stage_rank[0] != stage_rank[-1])
    tied_s = np.zeros(tps.size)
    if has_tied:
        tied_s = _tied_s(costs, tied_links, tps, base.model)
    return DataColumns(
        _rank_columns(costs, pipeline, parameters, stages.gather_s, tied_s), stages, has_tied
    )


def _stage_columns(costs: StepCosts, layout: Layout, parameters: FloatArray) -> StageColumns:
    payload_bytes = parameters * costs.gradient_reduce_bytes
    buckets = np.ceil(payload_bytes / costs.plan.bucket_bytes).astype(np.int64)
    pieces = np.clip(buckets, 1, _num_layers(layout))
    classes = _Classes.of(layout.kind_index, parameters)
    return StageColumns(
        reduce_s=classes.priced(costs.reduce_s, payload_bytes),
        gather_s=classes.priced(costs.gather_s, parameters * costs.gather_bytes),
        reduce_piece_s=classes.priced(costs.reduce_s, payload_bytes / pieces),
        pieces=pieces,
    )


def _rank_columns(
    costs: StepCosts,
    pipeline: Pipeline,
    parameters: FloatArray,
    stage_gather_s: FloatArray,
    tied_s: FloatArray,
) -> RankColumns:
    schedule = pipeline.schedule
    stages_of = [np.flatnonzero(schedule.stage_rank == rank) for rank in range(schedule.num_ranks)]
    # One stage after the other, as a single run adds them.
    held = np.array([sum(parameters[stage] for stage in own.tolist()) for own in stages_of])
    classes = _Classes.of(np.zeros(len(held), dtype=np.int64), held)
    layers_s = _layer_gathers_s(costs, pipeline.layout, parameters)
    return RankColumns(
        reduce_s=classes.priced(costs.reduce_s, held * costs.gradient_reduce_bytes),
        gather_s=classes.priced(costs.gather_s, held * costs.gather_bytes),
        optimizer_s=classes.priced(costs.optimizer_s, held),
        lead_gather_s=np.array(
            [
                stage_gather_s[own[own <= first]].sum(axis=0)
                for own, first in zip(stages_of, schedule.stage[:, 0], strict=True)
            ]
        ),
        layer_gathers_s=np.array([layers_s[own].sum(axis=0) for own in stages_of]),
        tied_s=tied_s,
    )


def _layer_gathers_s(costs: StepCosts, layout: Layout, parameters: FloatArray) -> FloatArray:
    """Gathers of a forward and a backward of every stage, layer by layer. [stages, tps]."""
    if costs.plan.sharding.gather != "before_use":
        return np.zeros_like(parameters)
    layers = _num_layers(layout)
    classes = _Classes.of(layout.kind_index, parameters)
    return 2 * layers * classes.priced(costs.gather_s, parameters * costs.gather_bytes / layers)


def _num_layers(layout: Layout) -> IntArray:
    """Pieces that a stage can be cut into at most. [stages, 1]."""
    return np.array([kind.num_pieces for kind in layout.kinds])[:, None]


def _tied_s(
    costs: StepCosts,
    links: Sequence[PathLink | None],
    tps: FloatArray,
    model: TransformerConfig,
) -> FloatArray:
    """All-reduce of a tied table between two ranks. [tps]."""
    parameters = padded_vocab(model.vocab_size, tps) / tps * model.hidden_size
    seconds = [
        0.0 if link is None else as_float(p2p_s(float(count) * costs.gradient_reduce_bytes, link))
        for count, link in zip(parameters, links, strict=True)
    ]
    return whole_ticks(np.array(seconds))
