"""Prices of everything one step of one data-parallel replica does, as rows of a cost table.

The methods of ``StepCosts`` name an op ("forward of stage 3, sending over the network") and
return its row; equal ops share a row however many times the graph runs them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from simulator.cost.collective import CollectiveKind, collective_s
from simulator.cost.footprint import padded_vocab, stage_parameters
from simulator.cost.memory_bound import elementwise_s, memory_bound_s
from simulator.cost.transfer import p2p_s
from simulator.machine import GroupLink, PathLink
from simulator.model import TransformerConfig
from simulator.numeric import Numeric, as_float
from simulator.plan import ParallelismPlan
from simulator.schedule.action import Phase
from simulator.sharding import ReduceKind
from simulator.workload.classes import CostTableDraft
from simulator.workload.host_costs import HostCosts
from simulator.workload.listed_weights import list_copies_s, matrix_sizes
from simulator.workload.stage import StageCost, StageKind, StagePricer


@dataclass(frozen=True, slots=True)
class ActivationBytes:
    """Memory that passes take and give back.

    Attributes:
        held: from the forward to the backward of a microbatch.
        working: only while the backward runs (recomputed activations, logit gradients).
        for_weights: the part of ``held`` that a separate backward of weights still needs.
        swapped: leaves the device, layer by layer, after the forward, and comes back for the
            backward; no part of ``held``.
    """

    held: float
    working: float
    for_weights: float
    swapped: float = 0.0

    def acquired(self, phase: Phase) -> float:
        """What a pass takes when it starts."""
        return {Phase.F: self.held, Phase.B: self.working, Phase.W: 0.0}[phase]

    def released(self, phase: Phase, *, splits_backward: bool) -> float:
        """What a pass gives back when it ends."""
        kept = self.for_weights if splits_backward else 0.0
        return {Phase.F: 0.0, Phase.B: self.held + self.working - kept, Phase.W: kept}[phase]


@dataclass(frozen=True, slots=True)
class Links:
    """Links of the communicators outside the layers.

    Attributes:
        shard, replica: data-parallel groups that share, and that hold copies of, a shard.
        ends: path between first and last pipeline rank (tied embeddings), None without pipeline.
    """

    shard: GroupLink
    replica: GroupLink
    ends: PathLink | None


@dataclass(slots=True)
class StepCosts:
    """Rows of the cost table of one step; see the module's docstring.

    Attributes:
        kinds: [stages], what every virtual stage holds.
        activations: [stages].
        gather_bytes, gradient_reduce_bytes: of one element on the wire.
        optimizer_state_bytes: moments and master weights of one parameter.
        ends_share_rank: first and last stage lie on one rank, which holds a tied table once.
        host: prices of what lives off the device; None if nothing does.
        table: collects the rows.
    """

    model: TransformerConfig
    plan: ParallelismPlan
    pricer: StagePricer
    links: Links
    kinds: tuple[StageKind, ...]
    activations: tuple[ActivationBytes, ...]
    gather_bytes: float
    gradient_reduce_bytes: float
    optimizer_state_bytes: float = 12.0
    ends_share_rank: bool = False
    host: HostCosts | None = None
    table: CostTableDraft = field(default_factory=CostTableDraft)
    _stage_costs: dict[tuple[StageKind, Phase], StageCost] = field(
        default_factory=dict[tuple[StageKind, Phase], StageCost]
    )

    def stage_cost(self, stage: int, phase: Phase) -> StageCost:
        """Cost of one phase of a stage, computed once for every kind of stage."""
        key = (self.kinds[stage], phase)
        if key not in self._stage_costs:
            self._stage_costs[key] = self.pricer.cost(*key)
        return self._stage_costs[key]

    def parameters(self, stage: int) -> float:
        """Parameters of a virtual stage on one tensor-parallel rank, before sharding.

        A tied table counts on the first stage where that is on the rank of the last one.
        """
        kind = self.kinds[stage]
        total = float(
            stage_parameters(
                self.model,
                kind.num_layers,
                has_embedding=kind.has_embedding,
                has_output=kind.has_output,
                tp=self.plan.tp,
            )
        )
        copy = kind.has_output and not kind.has_embedding and self.model.tied_embeddings
        return total - self._table_parameters() if copy and self.ends_share_rank else total

    def rank_parameters(self, stages: tuple[int, ...]) -> float:
        """Parameters of a pipeline rank."""
        return sum(self.parameters(stage) for stage in stages)

    def _table_parameters(self) -> float:
        """Parameters of the vocabulary table on one tensor-parallel rank."""
        rows = padded_vocab(self.model.vocab_size, self.plan.tp) / self.plan.tp
        return float(rows * self.model.hidden_size)

    def pass_row(
        self,
        stage: int,
        phase: Phase,
        *,
        send: PathLink | None,
        piece: int = 0,
        num_pieces: int = 1,
    ) -> int:
        """Row of one phase of a stage, or of one of its equal pieces.

        Args:
            stage: virtual stage.
            phase: forward or backward.
            send: path of a blocking send after it, None where nothing is sent.
            piece: which piece; the first takes memory, the last sends and gives memory back.
            num_pieces: pieces the phase is cut into.
        """
        cost = self.stage_cost(stage, phase)
        last = piece == num_pieces - 1
        position = (
            "whole" if num_pieces == 1 else "last" if last else "first" if piece == 0 else "middle"
        )
        terms: dict[str, Numeric] = {
            "compute": cost.compute_s / num_pieces,
            "recompute": cost.recompute_s / num_pieces,
            "overhead": (cost.overhead_s + self.list_host_s(stage, phase)) / num_pieces,
            "tp_comm": cost.tp_comm_s / num_pieces,
        }
        path = ""
        if send is not None and last:
            terms["pp_comm"] = self.send_s(send) * self.pricer.context.stack.blocking_p2p_scale
            path = f" and send {_path_label(send)}"
        memory = self.activations[stage]
        alloc = memory.acquired(phase)
        free = memory.released(phase, splits_backward=self.pricer.splits_backward)
        part = "" if num_pieces == 1 else f" ({position} of {num_pieces})"
        name = f"{phase.name} {self.kinds[stage].label}{part}{path}"
        swapped = memory.swapped / num_pieces
        return self.table.add(
            name,
            terms,
            alloc_bytes=(alloc if piece == 0 else 0.0) + swapped * (phase is Phase.F),
            free_bytes=(free if last else 0.0) + swapped * (phase is Phase.B),
        )

    def send_s(self, path: PathLink) -> Numeric:
        """Transfer of a microbatch's activations or gradients to the next stage.

        Every tensor-parallel rank sends its 1/tp; without sequence parallelism the receivers
        then all-gather the whole inside the node.
        Source: Narayanan et al. 2021 (arXiv 2104.04473) section 4.1, scatter/gather.
        """
        split = self.pricer.split
        whole = split.tokens * self.model.hidden_size * split.element_bytes
        seconds = p2p_s(whole / split.tp, path)
        if split.tensor_parallel and not split.sequence_parallel:
            seconds = seconds + collective_s("all_gather", whole, self.pricer.context.links["tp"])
        return seconds

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
        """Host time of the lists of shards of one phase; the device waits for it.

        Source: microsoft/DeepSpeed v0.3, ``_allgather_param`` synchronises the device before it
            builds its list, so that the host has no lead.
        """
        if not self._listed or phase is Phase.W:
            return 0.0
        policy, stack = self.plan.sharding, self.pricer.context.stack
        reduces = phase is Phase.B and policy.reduce == "reduce_scatter"
        collectives = self.gathers_in(phase) + (1.0 if reduces else 0.0)
        matrices = self.kinds[stage].num_layers * len(matrix_sizes(self.model))
        return stack.list_entry_s * self.links.shard.size * matrices * collectives

    def _sharded_s(self, kind: CollectiveKind, payload: Numeric) -> Numeric:
        """Gather or reduction over the shard group: at once, or matrix by matrix as lists."""
        if not self._listed:
            return self._collective_s(kind, payload, self.links.shard)
        sizes = matrix_sizes(self.model)
        reduces = kind == "reduce_scatter"
        seconds: Numeric = 0.0
        for size in sizes:
            part = payload * size / sum(sizes)
            seconds = seconds + self._collective_s(kind, part, self.links.shard)
            seconds = seconds + list_copies_s(
                part, self.links.shard.size, self.pricer.context.accelerator, reduces=reduces
            )
        return seconds

    def send_row(self, path: PathLink) -> int:
        """Row of a send beside compute."""
        return self.table.add(f"send {_path_label(path)}", {"pp_comm": self.send_s(path)})

    def _collective_s(self, kind: CollectiveKind, payload: Numeric, link: GroupLink) -> Numeric:
        scale = self.pricer.context.stack.network_scale
        slow_down = np.where(np.asarray(link.num_nodes) > 1, 1 / scale, 1.0)
        return collective_s(kind, payload, link) * slow_down

    def reduce_row(self, stages: tuple[int, ...], *, num_pieces: int = 1) -> int:
        """Row of the gradient reduction of some virtual stages, or of one of its equal buckets.

        Shard group first (all-reduce or reduce-scatter), then all-reduce of the shard over the
        replicas of an HSDP plan.
        """
        payload = self.gradient_payload(stages) / num_pieces
        seconds = self.reduce_s(payload)
        return self.table.add(f"reduce {payload:.0f} B of gradients", {"dp_comm": seconds})

    def reduce_s(self, payload: Numeric) -> Numeric:
        """Reduction of so many bytes of gradients."""
        kind = self._reduce_kind()
        seconds = self._sharded_s(kind, payload)
        shard = payload / self.links.shard.size if kind == "reduce_scatter" else payload
        return seconds + self._collective_s("all_reduce", shard, self.links.replica)

    def _reduce_kind(self) -> ReduceKind:
        """How gradients are reduced over the shard group: by the policy, or by what the stack does.

        Source: Aleph-Alpha/scaling, core/optimizer/optimizer.py (``allreduce_gradients`` before
            ``step_prequel`` takes the slice that a rank owns).
        """
        policy = self.plan.sharding
        only_optimizer = policy.shard_optimizer and not policy.shard_gradients
        if only_optimizer and self.pricer.context.stack.sharded_all_reduce:
            return "all_reduce"
        return policy.reduce

    def gradient_payload(self, stages: tuple[int, ...]) -> float:
        """Bytes of gradients that a rank contributes for some virtual stages."""
        return self.rank_parameters(stages) * self.gradient_reduce_bytes

    def gather_row(
        self, stages: tuple[int, ...], *, num_pieces: int = 1, phase: Phase = Phase.F
    ) -> int:
        """Row of the all-gather of the weights of some virtual stages over the shard group.

        Args:
            stages: of one rank.
            num_pieces: equal parts in which they are gathered.
            phase: for which; a backward may need some weights twice.
        """
        payload = self.rank_parameters(stages) * self.gather_bytes / num_pieces
        times = self.gathers_in(phase)
        seconds = self.gather_s(payload) * times
        name = f"gather {payload * times:.0f} B of weights"
        return self.table.add(name, {"dp_comm": seconds})

    def gather_s(self, payload: Numeric) -> Numeric:
        """All-gather of so many bytes of weights."""
        return self._sharded_s("all_gather", payload)

    def tied_embedding_row(self, ends: PathLink) -> int:
        """Row of the all-reduce of the tied table's gradient between first and last stage.

        Two ranks each send and receive half of it twice.
        """
        payload = self._table_parameters() * self.gradient_reduce_bytes
        return self.table.add("reduce tied embedding", {"dp_comm": p2p_s(payload, ends)})

    def optimizer_row(self, stages: tuple[int, ...]) -> int:
        """Row of the optimizer step on this rank's share of the parameters.

        In fp8 every rank then casts the weights it computes with, once for all microbatches
        (NVIDIA/TransformerEngine, ``is_first_microbatch``). What the stack moves around the
        reduction of gradients (``gradient_copy_bytes``) is counted here.

        Assumes: the vocabulary table, which stays in 16 bits, is a small part of them.
        """
        parameters = self.rank_parameters(stages)
        owned = self._owned(parameters)
        return self.table.add(
            f"optimizer on {owned:.0f} parameters", {"optimizer": self.optimizer_s(parameters)}
        )

    def _owned(self, parameters: Numeric) -> Numeric:
        """Parameters that a rank updates of those it holds."""
        sharded = self.plan.sharding.shard_optimizer
        if self.host is not None:
            parameters = parameters * self.host.offload.optimizer.share("device")
        return parameters / self.links.shard.size if sharded else parameters

    def optimizer_s(self, parameters: Numeric) -> Numeric:
        """Optimizer step of a rank that holds so many parameters; see ``optimizer_row``."""
        owned = self._owned(parameters)
        stack = self.pricer.context.stack
        # The stack's figure is Adam's: 12 bytes of moments and master weights, read and written.
        per_parameter = stack.optimizer_bytes_per_parameter + 2 * (self.optimizer_state_bytes - 12)
        moved = owned * per_parameter
        accelerator = self.pricer.context.accelerator
        seconds = memory_bound_s(moved, "adam_fused", accelerator)
        if stack.gradient_copy_bytes and self.plan.dp > 1:
            copied = parameters * stack.gradient_copy_bytes
            seconds = seconds + memory_bound_s(copied, "copy", accelerator)
        if self.pricer.split.quantises:
            seconds = seconds + elementwise_s("quantise", parameters, 2.0, accelerator)
        return seconds * stack.memory_scale

    def overhead_row(self) -> int:
        """Row of what a step costs beside the model: data, logging, gradient norm."""
        seconds = self.pricer.context.stack.step_overhead_s
        return self.table.add("step overhead", {"overhead": seconds})

    def join_row(self) -> int:
        """Row of ops that take no time."""
        return self.table.add("join", {"overhead": 0.0})


def _path_label(path: PathLink) -> str:
    """Names a path by all that its cost depends on, so that other paths are other rows."""
    bandwidth, latency_s = as_float(path.bandwidth_bytes_per_s), as_float(path.latency_s)
    return f"at {bandwidth:.9g} B/s after {latency_s:.6g} s"
