"""One data-parallel replica while it is being lowered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from simulator.machine import PathLink
from simulator.numeric import FloatArray, IntArray, Integral
from simulator.plan import ParallelismPlan
from simulator.schedule.action import Phase, Schedule
from simulator.workload.draft import GraphDraft
from simulator.workload.op import OpPhase, Stream
from simulator.workload.pieces import Pieces
from simulator.workload.step_costs import StepCosts


class CoupledOps(NamedTuple):
    """Collectives over the replicas: ``entry`` is what waits, ``ids`` what runs.

    With ``everywhere`` they span all ranks, not only those of one tensor-parallel rank.
    """

    entry: IntArray
    ids: IntArray
    everywhere: bool = False


@dataclass(slots=True)
class Replica:
    """The state that lowering passes share.

    Attributes:
        paths: [stages - 1], path from a virtual stage to the next; None within a rank.
        index: number of this replica among those in the graph.
        tied: other replicas are in the graph too, so collectives wait for theirs.
        pieces, ids: passes of the schedule and their op ids.
        coupled: collectives over the replicas, in the same order in every replica.
        gathers: rank -> gathers of weights before use, one for every piece that uses them.
        step_gathers: rank -> gathers of updated weights after the step.
        reduced: piece -> reduction of its gradients; reduced_at_end: rank -> that of all of them.
        optimizer_steps: rank -> its optimizer step on the device.
        landed: rank -> pieces of the last microbatch, and the ops that bring their gradients to the
            host.
    """

    draft: GraphDraft
    schedule: Schedule
    costs: StepCosts
    paths: Sequence[PathLink | None]
    pieces: Pieces
    index: int = 0
    tied: bool = False
    ids: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    coupled: list[CoupledOps] = field(default_factory=list[CoupledOps])
    gathers: dict[int, CoupledOps] = field(default_factory=dict[int, CoupledOps])
    step_gathers: dict[int, CoupledOps] = field(default_factory=dict[int, CoupledOps])
    reduced: dict[int, int] = field(default_factory=dict[int, int])
    reduced_at_end: dict[int, int] = field(default_factory=dict[int, int])
    optimizer_steps: dict[int, int] = field(default_factory=dict[int, int])
    landed: dict[int, tuple[IntArray, IntArray]] = field(
        default_factory=dict[int, tuple[IntArray, IntArray]]
    )

    @property
    def plan(self) -> ParallelismPlan:
        """The parallelism plan."""
        return self.costs.plan

    @property
    def last_phase(self) -> Phase:
        """Phase that completes a gradient."""
        return Phase.W if self.schedule.splits_backward else Phase.B

    def stages_of(self, rank: int) -> tuple[int, ...]:
        """Virtual stages that a pipeline rank holds."""
        return tuple(int(stage) for stage in np.flatnonzero(self.schedule.stage_rank == rank))

    def stream(self, name: str, rank: int) -> int:
        """Index of a stream of a pipeline rank."""
        return self.draft.add_stream(Stream(name, rank, self.index))

    def dp_stream(self, rank: int) -> int:
        """Where data-parallel collectives run: beside compute if they overlap."""
        return self.stream("dp" if self.plan.overlap_dp else "compute", rank)

    def nic(self, rank: int) -> int:
        """The NIC share of a rank, for its overlapping sends and data-parallel collectives.

        Assumes: blocking sends, which are part of a pass, do not meet the collectives.
        """
        return self.draft.add_resource(f"nic of rank {rank}, replica {self.index}")

    def _dp_resource(self, rows: IntArray, rank: int) -> Integral:
        """The NIC share, or none for collectives that stay in a node."""
        both_overlap = self.plan.overlap_dp and self.plan.overlap_pp and self.plan.pp > 1
        if not both_overlap:
            return -1
        crosses = [self.costs.crosses(row) for row in rows.reshape(-1).tolist()]
        return np.where(crosses, self.nic(rank), -1) if any(crosses) else -1

    def add_coupled(
        self,
        rows: Integral,
        rank: int,
        order: FloatArray,
        phase: OpPhase,
        stage: Integral,
        *,
        beside: bool = True,
    ) -> CoupledOps:
        """Adds data-parallel collectives of a rank, which start when every replica is ready.

        Args:
            rows: of the cost table.
            rank: pipeline rank.
            order: places in the stream.
            phase: label.
            stage: label.
            beside: beside compute, where the plan overlaps.
        """
        stream = self.dp_stream(rank) if beside else self.stream("compute", rank)
        ids = self.draft.add_ops(
            rows,
            stream,
            order=order,
            phase=int(phase),
            stage=stage,
            resource=self._dp_resource(np.asarray(rows), rank),
            coupled=True,
        )
        entry = ids
        if self.tied:
            # Half a microplace earlier, so that nothing comes between an op and its readiness.
            entry = self.draft.add_ops(
                self.costs.join_row(), stream, order=order - 1e-6, phase=int(OpPhase.JOIN)
            )
        ops = CoupledOps(entry, ids)
        self.coupled.append(ops)
        return ops
