"""How the layers of a model lie on the stages of a pipeline, and their parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.cost.footprint import padded_vocab, stage_parameters
from simulator.numeric import FloatArray, IntArray
from simulator.scenario import Scenario
from simulator.schedule.action import Schedule
from simulator.search.space import stage_split
from simulator.workload.stage import StageKind


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

    @property
    def key(self) -> tuple[object, ...]:
        """What tells it from others of one search: a long tuple of kinds is slow to compare."""
        return (len(self.kinds), self.distinct)

    @classmethod
    def of(cls, scenario: Scenario, num_stages: int, *, balanced: bool) -> Layout:
        """The layout with equal stages, or with embedding and output counted as layers."""
        layers = stage_split(scenario, num_stages, balanced=balanced)
        kinds = tuple(
            StageKind(count, i == 0, i == num_stages - 1) for i, count in enumerate(layers)
        )
        distinct_kinds = tuple(dict.fromkeys(kinds))
        index = np.array([distinct_kinds.index(kind) for kind in kinds], dtype=np.int64)
        return cls(kinds, distinct_kinds, index)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Order of the passes, and how the model lies on their stages."""

    schedule: Schedule
    layout: Layout

    @property
    def ends_share_rank(self) -> bool:
        """Whether the last of several stages is on the rank of the first."""
        schedule = self.schedule
        return bool(schedule.stage_rank[0] == schedule.stage_rank[-1]) and schedule.num_stages > 1


def layout_parameters(base: Scenario, pipeline: Pipeline, tps: FloatArray) -> FloatArray:
    """Parameters of every stage on one of ``tps`` ranks, a tied table once. [stages, tps]."""
    by_kind = [
        stage_parameters(
            base.model,
            kind.num_layers,
            has_embedding=kind.has_embedding,
            has_output=kind.has_output,
            tp=tps,
        )
        for kind in pipeline.layout.distinct
    ]
    parameters = np.array(by_kind)[pipeline.layout.kind_index]
    if pipeline.ends_share_rank and base.model.tied_embeddings:
        rows = padded_vocab(base.model.vocab_size, tps) / tps
        parameters[-1] -= rows * base.model.hidden_size
    return parameters
