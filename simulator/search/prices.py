"""Prices of the passes and of data parallelism, each distinct one computed once per search.

Everything comes from the cost functions of a single run (``StagePricer``, ``StepCosts``), asked
for the few combinations of columns on which a price depends.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from simulator.machine import PathLink
from simulator.memory import RankStatic, rank_static
from simulator.numeric import FloatArray, IntArray, as_float
from simulator.plan import Recompute
from simulator.scenario import Scenario
from simulator.schedule.action import Phase, Schedule
from simulator.search.space import RECOMPUTE_MODES, SHARDING_NAMES, layers_per_stage
from simulator.sharding import SHARDING
from simulator.step import data_costs, pass_activations, stage_pricer
from simulator.topology import Topology
from simulator.workload.fold import replica_paths
from simulator.workload.stage import StageKind, StagePricer
from simulator.workload.step_costs import StepCosts


@dataclass(frozen=True, slots=True)
class Layout:
    """How a model lies on a pipeline.

    Attributes:
        kinds: [stages].
        kind_index: [stages], index into ``distinct``.
        distinct: the different kinds of stage.
    """

    kinds: tuple[StageKind, ...]
    distinct: tuple[StageKind, ...]
    kind_index: IntArray

    @classmethod
    def of(cls, scenario: Scenario, num_stages: int, *, balanced: bool) -> Layout:
        """The layout with equal stages, or with embedding and output counted as layers."""
        layers = layers_per_stage(scenario.model.num_layers, num_stages, balanced=balanced)
        kinds = tuple(
            StageKind(count, i == 0, i == num_stages - 1) for i, count in enumerate(layers)
        )
        distinct = tuple(dict.fromkeys(kinds))
        index = np.array([distinct.index(kind) for kind in kinds], dtype=np.int64)
        return cls(kinds, distinct, index)


@dataclass(frozen=True, slots=True)
class DataPrices:
    """Seconds of what happens outside the passes of a rank or stage.

    Attributes:
        reduce_rank_s, gather_rank_s, optimizer_s: [ranks].
        reduce_stage_s, gather_stage_s: [stages]; a reduction is that of one piece.
        pieces: [stages], pieces of the last backward that is reduced while it runs.
        tied_s: all-reduce of a tied table; 0 where there is none.
        has_tied: there is one.
    """

    reduce_rank_s: FloatArray
    gather_rank_s: FloatArray
    optimizer_s: FloatArray
    reduce_stage_s: FloatArray
    reduce_stage_whole_s: FloatArray
    gather_stage_s: FloatArray
    pieces: IntArray
    tied_s: float
    has_tied: bool


class DataColumns:
    """``DataPrices`` of every candidate: [ranks or stages, candidates]."""

    def __init__(self, rows: Sequence[DataPrices], inverse: IntArray) -> None:
        def column(values: Sequence[FloatArray]) -> FloatArray:
            return np.stack(values, axis=1)[:, inverse]

        self.reduce_rank_s = column([row.reduce_rank_s for row in rows])
        self.gather_rank_s = column([row.gather_rank_s for row in rows])
        self.optimizer_s = column([row.optimizer_s for row in rows])
        self.reduce_stage_s = column([row.reduce_stage_s for row in rows])
        self.reduce_whole_s = column([row.reduce_stage_whole_s for row in rows])
        self.gather_stage_s = column([row.gather_stage_s for row in rows])
        self.pieces = np.stack([row.pieces for row in rows], axis=1)[:, inverse]
        self.tied_s = np.array([row.tied_s for row in rows])[inverse]
        self.has_tied = rows[0].has_tied


@dataclass(slots=True)
class Prices:
    """Prices of one search; answers are kept."""

    base: Scenario
    devices: int
    topology: Topology
    _pricers: dict[Hashable, StagePricer] = field(default_factory=dict[Hashable, StagePricer])
    _passes: dict[Hashable, FloatArray] = field(default_factory=dict[Hashable, FloatArray])
    _paths: dict[Hashable, tuple[tuple[PathLink | None, ...], ...]] = field(
        default_factory=dict[Hashable, tuple[tuple[PathLink | None, ...], ...]]
    )
    _sends: dict[Hashable, FloatArray] = field(default_factory=dict[Hashable, FloatArray])
    _traffic: dict[Hashable, tuple[float, ...]] = field(
        default_factory=dict[Hashable, tuple[float, ...]]
    )
    _activations: dict[Hashable, tuple[float, float, float]] = field(
        default_factory=dict[Hashable, tuple[float, float, float]]
    )
    _statics: dict[Hashable, RankStatic] = field(default_factory=dict[Hashable, RankStatic])
    _data: dict[Hashable, DataPrices] = field(default_factory=dict[Hashable, DataPrices])

    def scenario(self, tp: int, pp: int, **changes: int) -> Scenario:
        """The base scenario with other degrees, and what else prices may depend on."""
        plan = replace(
            self.base.plan,
            tp=tp,
            pp=pp,
            dp=self.devices // (tp * pp),
            virtual_stages=changes.get("virtual_stages", 1),
            sequence_parallel=bool(changes.get("sequence_parallel", 0)),
            overlap_tp=bool(changes.get("overlap_tp", 0)),
            overlap_dp=bool(changes.get("overlap_dp", 0)),
            sharding=SHARDING[SHARDING_NAMES[changes.get("sharding", 0)]],
            layers_per_stage=None,
            shard_group_size=None,
        )
        training = replace(
            self.base.training,
            micro_batch_size=changes.get("micro_batch_size", 1),
            recompute=Recompute(
                RECOMPUTE_MODES[changes.get("recompute", 0)],
                changes.get("recompute_layers", 0) or None,
            ),
        )
        return replace(self.base, plan=plan, training=training)

    def pricer(self, tp: int, pp: int, *, splits: bool, **changes: int) -> StagePricer:
        """Prices of the passes under one split."""
        key = (tp, self._place(pp), splits, *sorted(changes.items()))
        if key not in self._pricers:
            scenario = self.scenario(tp, pp, **changes)
            self._pricers[key] = stage_pricer(scenario, self.topology, splits_backward=splits)
        return self._pricers[key]

    def pass_seconds(
        self, kind: StageKind, tp: int, pp: int, *, splits: bool, **changes: int
    ) -> FloatArray:
        """Seconds of a stage's phases: computed, recomputed, overhead, exposed. [phases, 4]."""
        key = (kind, tp, self._place(pp), splits, *changes.items())
        if key not in self._passes:
            pricer = self.pricer(tp, pp, splits=splits, **changes)
            seconds = np.zeros((3, 4))
            for phase in Phase if splits else (Phase.F, Phase.B):
                cost = pricer.cost(kind, phase)
                terms = (cost.compute_s, cost.recompute_s, cost.overhead_s, cost.tp_comm_s)
                seconds[phase] = tuple(as_float(term) for term in terms)
            self._passes[key] = seconds
        return self._passes[key]

    def paths(
        self, tp: int, pp: int, stage_rank: IntArray
    ) -> tuple[tuple[PathLink | None, ...], ...]:
        """Distinct paths from stage to stage among the replicas."""
        key = (tp, pp, stage_rank.size, int(stage_rank[-1]))
        if key not in self._paths:
            plan = self.scenario(tp, pp).plan
            found = replica_paths(plan, self.topology, stage_rank)
            self._paths[key] = tuple(dict.fromkeys(found))
        return self._paths[key]

    def send_seconds(
        self,
        tp: int,
        pp: int,
        stage_rank: IntArray,
        *,
        micro_batch_size: int,
        sequence_parallel: int,
    ) -> FloatArray:
        """Transfer from every stage to the next; NaN within a rank. [stages - 1]."""
        key = (tp, pp, stage_rank.size, int(stage_rank[-1]), micro_batch_size, sequence_parallel)
        if key not in self._sends:
            pricer = self.pricer(
                tp,
                pp,
                splits=False,
                micro_batch_size=micro_batch_size,
                sequence_parallel=sequence_parallel,
            )
            paths = self.paths(tp, pp, stage_rank)[0]
            costs = data_costs(self.scenario(tp, pp), self.topology, (), pricer)
            seconds = {path: as_float(costs.send_s(path)) for path in set(paths) if path}
            self._sends[key] = np.array([seconds[p] if p else np.nan for p in paths])
        return self._sends[key]

    def data_costs(
        self, tp: int, schedule: Schedule, layout: Layout, *, sharding: int, overlap_dp: int
    ) -> StepCosts:
        """Prices of data parallelism, as a single run makes them."""
        pp = schedule.num_ranks
        scenario = self.scenario(
            tp, pp, sharding=sharding, overlap_dp=overlap_dp, virtual_stages=schedule.num_chunks
        )
        pricer = self.pricer(tp, pp, splits=False)
        together = bool(schedule.stage_rank[0] == schedule.stage_rank[-1])
        costs = data_costs(scenario, self.topology, layout.kinds, pricer)
        costs.ends_share_rank = together
        return costs

    def data(self, tp: int, schedule: Schedule, layout: Layout, *, sharding: int) -> DataPrices:
        """Seconds of reductions, gathers and the optimizer."""
        key = (tp, layout.kinds, schedule.num_ranks, int(schedule.stage_rank[-1]), sharding)
        if key not in self._data:
            self._data[key] = _data_prices(
                self.data_costs(tp, schedule, layout, sharding=sharding, overlap_dp=1), schedule
            )
        return self._data[key]

    def layer_traffic_s(
        self, tp: int, layout: Layout, *, recompute: int, sharding: int
    ) -> tuple[float, ...]:
        """Of weights gathered layer by layer, without a pipeline.

        Returns:
            Gather of one layer for a forward and for a backward, reduction of one layer, host
            time of lists in a whole forward and backward.
        """
        key = (tp, layout.kinds, recompute, sharding)
        if key not in self._traffic:
            pricer = self.pricer(tp, 1, splits=False, recompute=recompute)
            scenario = self.scenario(tp, 1, sharding=sharding)
            costs = data_costs(scenario, self.topology, layout.kinds, pricer)
            pieces = max(layout.kinds[0].num_layers, 1)
            rows = [
                costs.gather_row((0,), num_pieces=pieces, phase=Phase.F),
                costs.gather_row((0,), num_pieces=pieces, phase=Phase.B),
                costs.reduce_row((0,), num_pieces=pieces),
            ]
            table = costs.table.build()
            seconds = (table.device_s + table.waiting_s)[rows].tolist()
            host = [as_float(costs.list_host_s(0, phase)) for phase in (Phase.F, Phase.B)]
            self._traffic[key] = (*seconds, *host)
        return self._traffic[key]

    def activations(self, kind: StageKind, tp: int, **changes: int) -> tuple[float, float, float]:
        """Bytes that a microbatch holds on a stage, takes for its backward, keeps for weights."""
        key = (kind, tp, *changes.items())
        if key not in self._activations:
            size = pass_activations(self.scenario(tp, 1, **changes), kind)
            self._activations[key] = (size.held, size.working, size.for_weights)
        return self._activations[key]

    def rank_static(
        self, tp: int, schedule: Schedule, layout: Layout, rank: int, policy: tuple[int, int]
    ) -> RankStatic:
        """What a rank holds beside activations; ``policy`` is sharding and overlap of data."""
        sharding, overlap_dp = policy
        scenario = self.scenario(
            tp,
            schedule.num_ranks,
            sharding=sharding,
            overlap_dp=overlap_dp,
            virtual_stages=schedule.num_chunks,
        )
        whole = scenario.plan.sharding.shard_gradients and schedule.num_ranks > 1
        order = (schedule.num_microbatches, rank) if whole else ()
        own = tuple(layout.kind_index[schedule.stage_rank == rank].tolist())
        key = (tp, layout.kinds, schedule.num_ranks, own, policy, order)
        if key not in self._statics:
            costs = self.data_costs(tp, schedule, layout, sharding=sharding, overlap_dp=overlap_dp)
            self._statics[key] = rank_static(scenario, schedule, costs, rank)
        return self._statics[key]

    def _place(self, pp: int) -> int:
        """Tensor-parallel neighbours lie apart by what varies faster."""
        return 0 if self.base.plan.axis_order[0] == "tp" else pp


def _data_prices(costs: StepCosts, schedule: Schedule) -> DataPrices:
    """Adds every row to the cost table, as lowering does, and reads their seconds."""
    stages_of = [
        tuple(np.flatnonzero(schedule.stage_rank == rank).tolist())
        for rank in range(schedule.num_ranks)
    ]
    stages = range(schedule.num_stages)
    layers = np.array([max(kind.num_layers, 1) for kind in costs.kinds])
    payload = np.array([costs.gradient_payload((stage,)) for stage in stages])
    buckets = np.ceil(payload / costs.plan.bucket_bytes).astype(np.int64)
    pieces = np.clip(buckets, 1, layers)
    rows = [
        [costs.reduce_row(own) for own in stages_of],
        [costs.gather_row(own) for own in stages_of],
        [costs.optimizer_row(own) for own in stages_of],
        [costs.reduce_row((s,), num_pieces=int(pieces[s])) for s in stages],
        [costs.reduce_row((s,)) for s in stages],
        [costs.gather_row((s,)) for s in stages],
    ]
    ends = costs.links.ends
    has_tied = costs.model.tied_embeddings and ends is not None and not costs.ends_share_rank
    tied = costs.tied_embedding_row(ends) if has_tied and ends is not None else costs.join_row()
    table = costs.table.build()
    seconds = table.device_s + table.waiting_s
    return DataPrices(
        *(seconds[np.array(some)] for some in rows),
        pieces=pieces,
        tied_s=float(seconds[tied]),
        has_tied=has_tied,
    )
