"""Parameters that the stages of a rank hold, of the whole model, its experts and its adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.cost.footprint import expert_rank_parameters, padded_vocab, stage_parameters
from simulator.model import TransformerConfig
from simulator.plan import ParallelismPlan
from simulator.workload.links import Links
from simulator.workload.stage import StageKind


@dataclass(slots=True, kw_only=True)
class HeldParameters:
    """Counts of parameters on one tensor-parallel rank.

    Attributes:
        links: whether experts are on fewer ranks than the rest.
        kinds: [stages], what every virtual stage holds.
        ends_share_rank: first and last stage lie on one rank, which holds a tied table once.
        adapter_parameters: trained ones of a layer on a rank, where all others are frozen; None
            where all are trained.
    """

    model: TransformerConfig
    plan: ParallelismPlan
    links: Links
    kinds: tuple[StageKind, ...]
    ends_share_rank: bool = False
    adapter_parameters: float | None = None

    def num_layers(self, stages: Sequence[int]) -> int:
        """Layers of some virtual stages."""
        return sum(self.kinds[stage].num_layers for stage in stages)

    def parameters(self, stage: int) -> float:
        """Parameters of a virtual stage on one tensor-parallel rank, before sharding.

        A tied table counts on the first stage where that is on the rank of the last one. Experts
        that not all replicas hold are apart (``expert_parameters``).
        """
        kind = self.kinds[stage]
        total = float(
            stage_parameters(
                self.model,
                kind.num_layers,
                has_embedding=kind.has_embedding,
                has_output=kind.has_output,
                tp=self.plan.tp,
                num_expert_layers=kind.num_expert_layers,
            )
        )
        if kind.num_expert_layers and self.links.experts is None:
            total += self._experts_of(kind)
        copy = kind.has_output and not kind.has_embedding and self.model.tied_embeddings
        return total - self.table_parameters() if copy and self.ends_share_rank else total

    def piece_parameters(self, stage: int) -> float:
        """Those of one piece of a stage whose passes are cut layer by layer."""
        return self.parameters(stage) / self.kinds[stage].num_pieces

    def rank_parameters(self, stages: Sequence[int]) -> float:
        """Parameters of a pipeline rank."""
        return sum(self.parameters(stage) for stage in stages)

    def expert_parameters(self, stages: Sequence[int]) -> float:
        """Parameters of experts that not all replicas hold, of those on a pipeline rank."""
        if self.links.experts is None:
            return 0.0
        return sum(self._experts_of(self.kinds[stage]) for stage in stages)

    def _experts_of(self, kind: StageKind) -> float:
        one_layer = expert_rank_parameters(self.model, self.plan.expert_tp, self.plan.ep)
        return kind.num_expert_layers * float(one_layer)

    def held_parameters(self, stages: Sequence[int]) -> float:
        """Parameters of a pipeline rank, before sharding."""
        return self.rank_parameters(stages) + self.expert_parameters(stages)

    def shard_size(self, stages: Sequence[int]) -> float:
        """Ranks over which states are divided, on average: experts over those that hold them."""
        whole, experts = self.plan.shard_size, self.expert_parameters(stages)
        if not experts:
            return whole
        owned = (self.rank_parameters(stages) + experts * self.plan.expert_spread) / whole
        return self.held_parameters(stages) / owned

    def trained_parameters(self, stages: Sequence[int]) -> float:
        """Parameters of a pipeline rank that have gradients."""
        return self.trained_on_all(stages) + self.expert_parameters(stages)

    def trained_on_all(self, stages: Sequence[int]) -> float:
        """Those of them that all replicas hold."""
        if self.adapter_parameters is None:
            return self.rank_parameters(stages)
        return self.adapter_parameters * self.num_layers(stages)

    def table_parameters(self) -> float:
        """Parameters of the vocabulary table on one tensor-parallel rank."""
        rows = padded_vocab(self.model.vocab_size, self.plan.tp) / self.plan.tp
        return float(rows * self.model.hidden_size)
