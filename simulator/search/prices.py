"""Prices of the passes and of data parallelism, each distinct one computed once per search.

Everything comes from the cost functions of a single run (``StagePricer``, ``StepCosts``). What
only changes numbers (tp, microbatch) is a column there: a ``Spots`` row per distinct pair.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace

import numpy as np

from simulator.errors import PlanError
from simulator.machine import GroupLink, PathLink
from simulator.memory import RankStatic, rank_static
from simulator.numeric import FloatArray, IntArray, as_float, whole_ticks
from simulator.plan import Recompute, process_group
from simulator.scenario import Scenario
from simulator.schedule.action import Phase
from simulator.search.data_parallel import DataColumns, data_columns
from simulator.search.layout import Layout, Pipeline, layout_parameters
from simulator.search.space import RECOMPUTE_MODES, SHARDING_NAMES, Candidates
from simulator.search.unique import distinct
from simulator.sharding import SHARDING
from simulator.step import activation_sizes, data_costs, microbatch_shape, stage_pricer
from simulator.topology import Topology
from simulator.workload.fold import replica_paths
from simulator.workload.stage import StageKind, StagePricer
from simulator.workload.step_costs import StepCosts


def stacked_links(links: Sequence[GroupLink]) -> GroupLink:
    """The links as one whose fields are columns."""
    return GroupLink(
        **{
            one.name: np.array([as_float(getattr(link, one.name)) for link in links])
            for one in fields(GroupLink)
            if one.name != "algorithms"
        },
        algorithms=links[0].algorithms,
    )


@dataclass(frozen=True, slots=True)
class Branch:
    """What a price depends on beside its spot; each is another kernel list.

    Attributes:
        has_tp: more than one tensor-parallel rank.
    """

    has_tp: bool
    sequence_parallel: bool
    overlap_tp: bool
    splits: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """How replicas share their work, as candidates say it.

    Attributes:
        sharding: index into ``SHARDING_NAMES``.
        overlap_dp: 0 or 1.
    """

    sharding: int
    overlap_dp: int


@dataclass(slots=True)
class Prices:
    """Prices of one search; answers are kept.

    Attributes:
        spots: [spots, 3], distinct (tp, microbatch, place of the tensor-parallel group).
        spot: [candidates], of the candidates that prices were made for.
    """

    base: Scenario
    devices: int
    topology: Topology
    spots: IntArray
    spot: IntArray
    _pricers: dict[Hashable, StagePricer] = field(default_factory=dict[Hashable, StagePricer])
    _arrays: dict[Hashable, FloatArray] = field(default_factory=dict[Hashable, FloatArray])
    _paths: dict[Hashable, tuple[tuple[PathLink | None, ...], ...]] = field(
        default_factory=dict[Hashable, tuple[tuple[PathLink | None, ...], ...]]
    )
    _data: dict[Hashable, DataColumns] = field(default_factory=dict[Hashable, DataColumns])
    _statics: dict[Hashable, RankStatic] = field(default_factory=dict[Hashable, RankStatic])
    _costs: dict[Hashable, StepCosts] = field(default_factory=dict[Hashable, StepCosts])

    @classmethod
    def of(cls, base: Scenario, devices: int, candidates: Candidates) -> Prices:
        """Prices for some candidates on a number of devices.

        Raises:
            PlanError: if the base scenario has an offload, which candidates do not express.
        """
        if base.plan.offload is not None:
            raise PlanError(
                "plans with offload cannot be searched",
                where="plan.offload",
                hint="leave plan.offload out, or run the plans one by one with trainsim run",
            )
        place = candidates.pp if base.plan.axis_order[0] != "tp" else np.ones_like(candidates.pp)
        spots, spot = distinct([candidates.tp, candidates.micro_batch_size, place])
        return cls(base, devices, Topology.of(base.cluster), spots, spot)

    @property
    def begin_s(self) -> float:
        """When the first passes may begin: what a step costs the host before them."""
        return float(whole_ticks(np.array(as_float(self.base.stack.step_overhead_s))))

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

    def _spots_of(self, branch: Branch) -> IntArray:
        """Spots that a branch is for; others hold no valid price."""
        return np.flatnonzero((self.spots[:, 0] > 1) == branch.has_tp)

    def pricer(self, branch: Branch, recompute: int) -> StagePricer:
        """Prices of the passes, a column per spot of the branch."""
        key = (branch, recompute)
        if key not in self._pricers:
            own = self.spots[self._spots_of(branch)]
            first = self.scenario(
                int(own[0, 0]),
                int(own[0, 2]),
                sequence_parallel=int(branch.sequence_parallel),
                overlap_tp=int(branch.overlap_tp),
                recompute=recompute,
            )
            pricer = stage_pricer(first, self.topology, splits_backward=branch.splits)
            links = stacked_links([self._tp_link(tp, pp) for tp, _, pp in own.tolist()])
            split = replace(
                pricer.split,
                micro_batch=own[:, 1].astype(np.float64),
                tp=own[:, 0].astype(np.float64),
            )
            context = replace(pricer.context, links={"tp": links})
            self._pricers[key] = replace(pricer, split=split, context=context)
        return self._pricers[key]

    def _tp_link(self, tp: int, pp: int) -> GroupLink:
        plan = self.scenario(tp, pp).plan
        return self.topology.group_link(process_group(plan, "tp"), num_ranks=plan.num_devices)

    def pass_seconds(
        self, kind: StageKind, branch: Branch, recompute: int, num_layers: int
    ) -> FloatArray:
        """Seconds of a stage: computed, recomputed, overhead, exposed. [phases, 4, spots].

        Args:
            kind: the stage.
            branch: what else it depends on.
            recompute: index of the mode.
            num_layers: layers that recompute, 0 for all.
        """
        key = ("pass", kind, branch, recompute, num_layers)
        if key not in self._arrays:
            pricer = self.pricer(branch, recompute)
            again = min(num_layers or kind.num_layers, kind.num_layers)
            own = self._spots_of(branch)
            seconds = np.full((3, 4, len(self.spots)), np.nan)
            for phase in Phase if branch.splits else (Phase.F, Phase.B):
                cost = pricer.cost(kind, phase, again)
                terms = (cost.compute_s, cost.recompute_s, cost.overhead_s, cost.tp_comm_s)
                for term, value in enumerate(terms):
                    seconds[phase, term, own] = value
            self._arrays[key] = seconds
        return self._arrays[key]

    def activations(
        self, kind: StageKind, branch: Branch, recompute: int, num_layers: int
    ) -> FloatArray:
        """Bytes that a microbatch holds, takes for its backward, keeps for weights. [3, spots]."""
        key = ("held", kind, branch, recompute, num_layers)
        if key not in self._arrays:
            own = self._spots_of(branch)
            tp, micro, place = self.spots[own].T
            scenario = self.scenario(
                int(tp[0]),
                int(place[0]),
                sequence_parallel=int(branch.sequence_parallel),
                recompute=recompute,
                recompute_layers=num_layers,
            )
            shape = replace(
                microbatch_shape(scenario),
                micro_batch_size=micro.astype(np.float64),
                tp=tp.astype(np.float64),
            )
            sizes = np.full((3, len(self.spots)), np.nan)
            for row, size in enumerate(activation_sizes(scenario, kind, shape)):
                sizes[row, own] = size
            self._arrays[key] = sizes
        return self._arrays[key]

    def paths(
        self, tp: int, pp: int, stage_rank: IntArray
    ) -> tuple[tuple[PathLink | None, ...], ...]:
        """Distinct paths from stage to stage among the replicas."""
        key = (tp, pp, stage_rank.size, int(stage_rank[-1]))
        if key not in self._paths:
            # Chunks pass the same boundaries again: one chunk and the way back tell them all.
            once = stage_rank[: min(pp + 1, stage_rank.size)]
            looping = int(stage_rank[-1]) == pp - 1
            short = (tp, pp, once.size, int(once[-1]), looping)
            if short not in self._paths:
                plan = self.scenario(tp, pp).plan
                ranks = once if looping else stage_rank
                found = replica_paths(plan, self.topology, ranks)
                self._paths[short] = tuple(dict.fromkeys(found))
            count = stage_rank.size - 1
            self._paths[key] = tuple(
                (one * (count // max(len(one), 1) + 1))[:count] for one in self._paths[short]
            )
        return self._paths[key]

    def send_seconds(self, tp: int, pp: int, stage_rank: IntArray, branch: Branch) -> FloatArray:
        """Transfer from every stage to the next; NaN within a rank. [stages - 1, spots]."""
        key = ("send", tp, pp, stage_rank.size, int(stage_rank[-1]), branch)
        if key not in self._arrays:
            pricer = self.pricer(branch, 0)
            costs = data_costs(self.scenario(tp, pp), self.topology, (), pricer)
            own = self._spots_of(branch)
            paths = self.paths(tp, pp, stage_rank)[0]
            seconds = np.full((len(paths), len(self.spots)), np.nan)
            for path in dict.fromkeys(paths):
                if path is not None:
                    places = np.flatnonzero([one == path for one in paths])
                    seconds[np.ix_(places, own)] = costs.send_s(path)
            self._arrays[key] = seconds
        return self._arrays[key]

    def costs(self, tp: int, pp: int, policy: Policy) -> StepCosts:
        """Prices of data parallelism without stages, as a single run makes them."""
        key = (tp, pp, policy)
        if key not in self._costs:
            scenario = self.scenario(tp, pp, **asdict(policy))
            branch = Branch(tp > 1, sequence_parallel=False, overlap_tp=False, splits=False)
            self._costs[key] = data_costs(scenario, self.topology, (), self.pricer(branch, 0))
        return self._costs[key]

    def data(self, pipeline: Pipeline, tps: IntArray, sharding: int) -> DataColumns:
        """Seconds of reductions, gathers and the optimizer, a column per tp.

        Args:
            pipeline: on which the model lies.
            tps: all with several replicas, or all with one.
            sharding: index of the policy.
        """
        pp, last = pipeline.schedule.num_ranks, int(pipeline.schedule.stage_rank[-1])
        key = (tuple(tps.tolist()), pipeline.layout.key, pp, last, sharding)
        if key not in self._data:
            each = [self.costs(tp, pp, Policy(sharding, overlap_dp=1)) for tp in tps.tolist()]
            links = replace(
                each[0].links,
                shard=stacked_links([one.links.shard for one in each]),
                replica=stacked_links([one.links.replica for one in each]),
            )
            tied_links = [one.links.ends for one in each]
            costs = replace(each[0], links=links)
            self._data[key] = data_columns(
                costs, tied_links, pipeline, tps.astype(np.float64), self.base
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
        key = ("layer", tp, layout.key, recompute, sharding)
        if key not in self._arrays:
            scenario = self.scenario(tp, 1, sharding=sharding, recompute=recompute)
            pricer = stage_pricer(scenario, self.topology, splits_backward=False)
            costs = data_costs(scenario, self.topology, layout.kinds, pricer)
            pieces = layout.kinds[0].num_pieces
            rows = [
                costs.gather_row((0,), num_pieces=pieces, phase=Phase.F),
                costs.gather_row((0,), num_pieces=pieces, phase=Phase.B),
                costs.reduce_row((0,), num_pieces=pieces),
            ]
            table = costs.table.build()
            seconds = whole_ticks(table.device_s + table.waiting_s)[rows].tolist()
            host = [as_float(costs.list_host_s(0, phase)) for phase in (Phase.F, Phase.B)]
            self._arrays[key] = np.array([*seconds, *host])
        return tuple(self._arrays[key].tolist())

    def rank_static(
        self,
        tp: int,
        pp: int,
        stages: tuple[StageKind, ...],
        policy: Policy,
        whole_parameters: float,
        *,
        ends_share_rank: bool,
    ) -> RankStatic:
        """What a rank with some stages holds beside activations.

        Args:
            tp: tensor-parallel degree.
            pp: pipeline ranks.
            stages: kinds of the rank's stages.
            policy: of data parallelism.
            whole_parameters: whose sharded gradients are whole at once.
            ends_share_rank: the rank of the first stage is that of the last.
        """
        # Only sums over the rank's stages count.
        summed = StageKind(
            sum(kind.num_layers for kind in stages),
            any(kind.has_embedding for kind in stages),
            any(kind.has_output for kind in stages),
        )
        key = (tp, pp, summed, policy, whole_parameters)
        if ends_share_rank:
            key = (*key, len(stages))
        if key not in self._statics:
            kinds = stages if ends_share_rank else (summed,)
            costs = replace(
                self.costs(tp, pp, policy), kinds=kinds, ends_share_rank=ends_share_rank
            )
            scenario = self.scenario(tp, pp, **asdict(policy))
            own = tuple(range(len(kinds)))
            self._statics[key] = rank_static(scenario, costs, own, whole_parameters)
        return self._statics[key]

    def stage_parameters(self, pipeline: Pipeline, tp: int) -> FloatArray:
        """Parameters of every stage on one of ``tp`` ranks. [stages]."""
        key = ("parameters", pipeline.layout.key, int(pipeline.schedule.stage_rank[-1]))
        if key not in self._arrays:
            tps = np.arange(int(self.spots[:, 0].max()) + 1, dtype=np.float64)
            tps[0] = 1.0
            self._arrays[key] = layout_parameters(self.base, pipeline, tps)
        return self._arrays[key][:, tp]
