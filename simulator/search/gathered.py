"""Lower bounds for pipelines whose weights are gathered before every use (ZeRO-3 with stages).

Their gathers interleave with passes layer by layer, in every microbatch. What columns can say of
them is what no order can beat: the passes alone, and the time that the gathers of a rank take.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.numeric import FloatArray
from simulator.schedule.action import Phase
from simulator.search.data_parallel import RankColumns
from simulator.search.layout import Pipeline
from simulator.search.space import Candidates

_LAYERS_ROUND: Final = 1 - 2.0**-30
"""Layers are timed in whole ticks each, a pass as a whole: a bound must not round above them."""


def gathered_bound_s(
    pipeline: Pipeline,
    candidates: Candidates,
    ranks: RankColumns,
    phases_s: FloatArray,
    passes_s: FloatArray,
) -> FloatArray:
    """What the step of a pipeline that gathers before use takes at least. [candidates].

    Args:
        pipeline: of all candidates.
        candidates: that gather before use.
        ranks: prices of data parallelism.
        phases_s: [phases, 4, kinds, candidates], terms of the passes of every kind of stage.
        passes_s: [candidates], step time as if the gathers took none.
    """
    schedule, kind_index = pipeline.schedule, pipeline.layout.kind_index
    last = Phase.W if schedule.splits_backward else Phase.B
    stage_s: FloatArray = phases_s[: last + 1].sum(axis=(0, 1))[kind_index]
    beside = candidates.overlap_dp == 1
    least_s = np.zeros(len(candidates))
    for rank in range(schedule.num_ranks):
        streamed_s = candidates.microbatches * ranks.layer_gathers_s[rank]
        own = schedule.stage_rank == rank
        computed_s = candidates.microbatches * stage_s[own].sum(axis=0)
        together_s = computed_s + streamed_s + ranks.reduce_s[rank]
        apart_s = np.maximum(computed_s, streamed_s)
        busy_s: FloatArray = np.choose(beside, (together_s, apart_s))
        least_s = np.maximum(least_s, busy_s + ranks.optimizer_s[rank])
    # Without a barrier the step time is a period, which gathers may also shorten: they come
    # before the passes that the neighbouring steps fill.
    if schedule.joins_before_optimizer:
        least_s = np.maximum(least_s, passes_s)
    bound_s: FloatArray = least_s * _LAYERS_ROUND
    return bound_s
