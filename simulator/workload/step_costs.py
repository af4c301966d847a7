"""Prices of everything one step of one data-parallel replica does, as rows of a cost table.

The methods of ``StepCosts`` name an op ("forward of stage 3, sending over the network") and
return its row; equal ops share a row however many times the graph runs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from simulator.cost.transfer import p2p_s
from simulator.machine import PathLink
from simulator.numeric import Numeric, as_float
from simulator.schedule.action import Phase
from simulator.workload.classes import CostTableDraft
from simulator.workload.data_moves import (
    Move,
    gather_moves,
    reduce_kind,
    reduce_moves,
    refresh_moves,
)
from simulator.workload.held_parameters import HeldParameters
from simulator.workload.host_costs import HostCosts
from simulator.workload.links import path_label
from simulator.workload.listed_weights import list_host_s, matrix_sizes
from simulator.workload.move_prices import kernels_s, moves_s
from simulator.workload.optimizer_price import optimizer_s
from simulator.workload.pass_memory import ActivationBytes
from simulator.workload.send_price import send_s
from simulator.workload.stage import StageCost, StageKind, StagePricer


@dataclass(slots=True)
class StepCosts(HeldParameters):
    """Rows of the cost table of one step; see the module's docstring.

    Attributes:
        activations: [stages].
        gather_bytes, gradient_reduce_bytes: of one element on the wire.
        optimizer_state_bytes: moments and master weights of one parameter.
        layer_update_s: of the optimizer on one layer, beside what it moves per parameter.
        layerwise: the optimizer updates a layer as soon as its gradients are there.
        host: prices of what lives off the device; None if nothing does.
        table: collects the rows.
        moves: what each row of gathers or reductions moves.
    """

    pricer: StagePricer
    activations: tuple[ActivationBytes, ...]
    gather_bytes: float
    gradient_reduce_bytes: float
    optimizer_state_bytes: float = 12.0
    layer_update_s: float = 0.0
    layerwise: bool = False
    host: HostCosts | None = None
    table: CostTableDraft = field(default_factory=CostTableDraft)
    moves: dict[int, tuple[Move, ...]] = field(default_factory=dict[int, "tuple[Move, ...]"])
    _stage_costs: dict[tuple[StageKind, Phase], StageCost] = field(
        default_factory=dict[tuple[StageKind, Phase], StageCost]
    )

    def stage_cost(self, stage: int, phase: Phase) -> StageCost:
        """Cost of one phase of a stage, computed once for every kind of stage."""
        key = (self.kinds[stage], phase)
        if key not in self._stage_costs:
            self._stage_costs[key] = self.pricer.cost(*key)
        return self._stage_costs[key]

    @property
    def _of_experts(self) -> StepCosts:
        """The same policy over the ranks that hold the same experts."""
        alone = self.links.experts or self.links.shard
        whole = replace(alone, size=1.0, num_nodes=1.0)
        return replace(self, links=replace(self.links, shard=alone, replica=whole))

    def pass_row(
        self,
        stage: int,
        phase: Phase,
        *,
        send: PathLink | None,
        piece: int = 0,
        num_pieces: int = 1,
        slowed_s: Numeric = 0.0,
    ) -> int:
        """Row of one phase of a stage, or of one of its equal pieces.

        Args:
            stage: virtual stage.
            phase: forward or backward.
            send: path of a blocking send after it, None where nothing is sent.
            piece: which piece; the first takes memory, the last sends and gives memory back.
            num_pieces: pieces the phase is cut into.
            slowed_s: what data-parallel collectives beside it add (``slowed``).
        """
        cost = self.stage_cost(stage, phase)
        last = piece == num_pieces - 1
        side = "last" if last else "first" if piece == 0 else "middle"
        terms: dict[str, Numeric] = {
            "compute": cost.compute_s / num_pieces,
            "recompute": cost.recompute_s / num_pieces,
            "overhead": (cost.overhead_s + self.list_host_s(stage, phase)) / num_pieces,
            "tp_comm": cost.tp_comm_s / num_pieces,
            "ep_comm": cost.ep_comm_s / num_pieces,
            "dp_comm": slowed_s,
        }
        path = ""
        if send is not None and last:
            terms["pp_comm"] = self.send_s(send) * self.pricer.context.stack.blocking_p2p_scale
            path = f" and send {path_label(send)}"
        memory = self.activations[stage]
        alloc = memory.acquired(phase)
        free = memory.released(phase, splits_backward=self.pricer.splits_backward)
        part = "" if num_pieces == 1 else f" ({side} of {num_pieces})"
        name = f"{phase.name} {self.kinds[stage].label}{part}{path}"
        swapped = memory.swapped / num_pieces
        return self.table.add(
            name,
            terms,
            alloc_bytes=(alloc if piece == 0 else 0.0) + swapped * (phase is Phase.F),
            free_bytes=(free if last else 0.0) + swapped * (phase is Phase.B),
        )

    def send_s(self, path: PathLink) -> Numeric:
        """Transfer of a microbatch's activations or gradients to the next stage."""
        return send_s(self.pricer.split, self.model, path, self.pricer.context.links["tp"])

    @property
    def _listed(self) -> bool:
        """Whether weights and gradients travel matrix by matrix as lists of shards."""
        return self.plan.sharding.gather == "before_use" and (
            self.pricer.context.stack.listed_weights
        )

    def gathers_in(self, phase: Phase) -> float:
        """Times the weights of a layer are gathered for one phase of a microbatch."""
        again = phase is Phase.B and self.pricer.recompute.mode == "full"
        return 2.0 if again and self.pricer.context.stack.gathers_again else 1.0

    def list_host_s(self, stage: int, phase: Phase) -> Numeric:
        """Host time of the lists of shards of one phase; the device waits for it."""
        if not self._listed or phase is Phase.W:
            return 0.0
        reduces = phase is Phase.B and self.plan.sharding.reduce == "reduce_scatter"
        lists = self.kinds[stage].num_layers * len(matrix_sizes(self.model))
        lists = lists * (self.gathers_in(phase) + (1.0 if reduces else 0.0))
        return list_host_s(lists, self.links.shard.size, self.pricer.context.stack)

    def _moves_s(self, moves: Sequence[Move]) -> Numeric:
        matrices = matrix_sizes(self.model) if self._listed else ()
        return moves_s(moves, self.pricer.context, matrices=matrices)

    def send_row(self, path: PathLink) -> int:
        """Row of a send beside compute."""
        return self.table.add(f"send {path_label(path)}", {"pp_comm": self.send_s(path)})

    def reduce_row(
        self, stages: tuple[int, ...], *, num_pieces: int = 1, final: bool = True
    ) -> int:
        """Row of the gradient reduction of some virtual stages, or of one of its equal buckets.

        Shard group first (all-reduce or reduce-scatter), then all-reduce of the shard over the
        replicas of an HSDP plan.

        Args:
            stages: of one rank.
            num_pieces: equal parts in which they are reduced.
            final: the last reduction of these gradients in a step.
        """
        payload = self.trained_on_all(stages) * self.gradient_reduce_bytes / num_pieces
        experts = self.expert_parameters(stages) * self.gradient_reduce_bytes / num_pieces
        within = "" if final or not self.plan.sharding.across_once else " within their group"
        name = f"reduce {payload:.0f} B of gradients{_and_experts(experts)}{within}"
        alone = self._of_experts._reduce_moves(experts) if experts else ()
        return self._moves_row(name, self._reduce_moves(payload, final=final), alone)

    def reduce_s(self, payload: Numeric) -> Numeric:
        """Reduction of so many bytes of gradients."""
        return self._moves_s(self._reduce_moves(payload))

    def _reduce_moves(self, payload: Numeric, *, final: bool = True) -> tuple[Move, ...]:
        kind = reduce_kind(self.plan.sharding, self.pricer.context.stack)
        each = self.gradient_reduce_bytes
        return reduce_moves(self.plan.sharding, self.links, payload, each, kind=kind, final=final)

    def _moves_row(
        self, name: str, moves: tuple[Move, ...], alone: tuple[Move, ...] = (), times: float = 1.0
    ) -> int:
        """Row of moves, and of those of experts that not all ranks hold."""
        seconds = self._moves_s(moves) * times
        if alone:
            seconds = seconds + self._moves_s(alone) * times
        row = self.table.add(name, {"dp_comm": seconds})
        self.moves[row] = (*moves, *alone) * int(times)
        return row

    def kernels_row(self, row: int) -> int | None:
        """Row of the kernels around the collectives of a row; None where there are none."""
        moves = self.moves[row]
        if not any(move.num_kernels for move in moves):
            return None
        seconds = kernels_s(moves, self.pricer.context)
        return self.table.add(f"kernels of {self.table.names[row]}", {"dp_comm": seconds})

    def crosses(self, row: int) -> bool:
        """Whether a row of collectives uses the network."""
        links = (self.links.shard, self.links.replica)
        if self.links.levels is not None:
            links = tuple(move.link for move in self.moves[row])
        return max(as_float(link.num_nodes) for link in links) > 1

    def gradient_payload(self, stages: tuple[int, ...]) -> float:
        """Bytes of gradients that a rank contributes for some virtual stages."""
        return self.trained_parameters(stages) * self.gradient_reduce_bytes

    def gather_row(
        self, stages: tuple[int, ...], *, num_pieces: int = 1, phase: Phase = Phase.F
    ) -> int:
        """Row of the all-gather of the weights of some virtual stages over the shard group.

        Args:
            stages: of one rank.
            num_pieces: equal parts in which they are gathered.
            phase: for which; a backward may need some weights twice.
        """
        once = self.plan.sharding.gather == "after_step"
        whole = self.trained_on_all(stages) if once else self.rank_parameters(stages)
        payload = whole * self.gather_bytes / num_pieces
        experts = self.expert_parameters(stages) * self.gather_bytes / num_pieces
        times = self.gathers_in(phase)
        place = "" if self.links.levels is None else f" for {phase.name}"
        name = f"gather {payload * times:.0f} B of weights{_and_experts(experts * times)}{place}"
        alone = self._of_experts._gather_moves(experts, phase) if experts else ()
        return self._moves_row(name, self._gather_moves(payload, phase), alone, times=times)

    def gather_s(self, payload: Numeric) -> Numeric:
        """All-gather of so many bytes of weights."""
        return self._moves_s(self._gather_moves(payload, Phase.F))

    def _gather_moves(self, payload: Numeric, phase: Phase) -> tuple[Move, ...]:
        return gather_moves(self.plan.sharding, self.links, payload, self.gather_bytes, phase)

    @property
    def refreshes(self) -> bool:
        """Whether updated weights travel between ranks before they are gathered for use."""
        levels = self.links.levels
        return levels is not None and as_float(levels.refresh.size) > 1

    def refresh_row(self, stages: tuple[int, ...]) -> int:
        """Row of the all-gather of updated weights to the ranks that keep them."""
        payload = self.rank_parameters(stages) * self.gather_bytes
        name = f"refresh {payload:.0f} B of weights"
        moves = refresh_moves(self.plan.sharding, self.links, payload, self.gather_bytes)
        return self._moves_row(name, moves)

    def tied_embedding_row(self, ends: PathLink) -> int:
        """Row of the all-reduce of the tied table's gradient between first and last stage.

        Two ranks each send and receive half of it twice.
        """
        payload = self.table_parameters() * self.gradient_reduce_bytes
        return self.table.add("reduce tied embedding", {"dp_comm": p2p_s(payload, ends)})

    def optimizer_row(self, stages: tuple[int, ...], *, num_pieces: int = 1) -> int:
        """Row of the optimizer step on this rank's share of the parameters, or of an equal piece.

        In fp8 every rank then casts the weights it computes with, once for all microbatches
        (NVIDIA/TransformerEngine, ``is_first_microbatch``). What the stack moves around the
        reduction of gradients (``gradient_copy_bytes``) is counted here.

        Assumes: the vocabulary table, which stays in 16 bits, is a small part of them.
        """
        parameters = self.trained_parameters(stages)
        shard_size = self.shard_size(stages) if self.expert_parameters(stages) else None
        owned = self._owned(parameters, shard_size)
        seconds = self.optimizer_s(parameters, shard_size)
        if self.layer_update_s:
            seconds = seconds + self._owned(self.layer_update_s * self.num_layers(stages))
        return self.table.add(
            f"optimizer on {owned / num_pieces:.0f} parameters",
            {"optimizer": seconds / num_pieces},
        )

    def _owned(self, parameters: Numeric, shard_size: Numeric | None = None) -> Numeric:
        """Parameters that a rank updates of those it holds."""
        if self.host is not None:
            parameters = parameters * self.host.offload.optimizer.share("device")
        if not self.plan.sharding.shard_optimizer:
            return parameters
        return parameters / (self.links.shard.size if shard_size is None else shard_size)

    def optimizer_s(self, parameters: Numeric, shard_size: Numeric | None = None) -> Numeric:
        """Optimizer step of a rank that holds so many parameters; see ``optimizer_row``.

        Args:
            parameters: before sharding.
            shard_size: ranks that share them, those of the shard group by default.
        """
        return optimizer_s(
            parameters,
            self._owned(parameters, shard_size),
            self.pricer.context,
            state_bytes=self.optimizer_state_bytes,
            has_replicas=self.plan.dp > 1,
            quantises=self.pricer.split.quantises,
        )

    def overhead_row(self) -> int:
        """Row of what a step costs beside the model: data, logging, gradient norm."""
        seconds = self.pricer.context.stack.step_overhead_s
        return self.table.add("step overhead", {"overhead": seconds})

    def join_row(self) -> int:
        """Row of ops that take no time."""
        return self.table.add("join", {"overhead": 0.0})


def _and_experts(num_bytes: float) -> str:
    """What a row of the table says of experts."""
    return f" and {num_bytes:.0f} B of experts" if num_bytes else ""
