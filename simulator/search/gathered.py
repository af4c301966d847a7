"""Lower bounds for pipelines whose weights are gathered before every use (ZeRO-3 with stages).

Their gathers interleave with passes layer by layer, in every microbatch. What columns can say of
them is what no order can beat: the passes alone, and the time that the gathers of a rank take.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.numeric import BoolArray, FloatArray
from simulator.schedule.action import Phase, Schedule
from simulator.search.data_parallel import DataColumns
from simulator.search.layout import Layout
from simulator.search.space import SHARDING_NAMES, Candidates
from simulator.sharding import SHARDING

_BEFORE: Final = np.array([SHARDING[name].gather == "before_use" for name in SHARDING_NAMES])
_LAYERS_ROUND: Final = 1 - 2.0**-30
"""Layers are timed in whole ticks each, a pass as a whole: a bound must not round above them."""


def gathers_before_use(candidates: Candidates) -> BoolArray:
    """Whether weights are gathered before every use. [candidates]."""
    return _BEFORE[candidates.sharding] & (candidates.dp > 1)


def gathered_bound_s(
    candidates: Candidates,
    pipeline: tuple[Schedule, Layout],
    data: DataColumns,
    phases_s: FloatArray,
    passes_s: FloatArray,
) -> FloatArray:
    """What the step of a pipeline that gathers before use takes at least. [candidates].

    Args:
        candidates: of one structure.
        pipeline: its schedule and layout.
        data: prices of data parallelism.
        phases_s: [phases, 4, kinds, candidates], terms of the passes of every kind of stage.
        passes_s: [candidates], step time as if the gathers took none.
    """
    schedule, layout = pipeline
    last = Phase.W if schedule.splits_backward else Phase.B
    layers = np.array([max(kind.num_layers, 1) for kind in layout.kinds])[:, None]
    gathers_s = 2 * layers * data.gather_piece_s
    stage_s: FloatArray = phases_s[: last + 1].sum(axis=(0, 1))[layout.kind_index]
    beside = candidates.overlap_dp == 1
    least_s = np.zeros(len(candidates))
    for rank in range(schedule.num_ranks):
        own = schedule.stage_rank == rank
        streamed_s = candidates.microbatches * gathers_s[own].sum(axis=0)
        computed_s = candidates.microbatches * stage_s[own].sum(axis=0)
        together_s = computed_s + streamed_s + data.reduce_rank_s[rank]
        apart_s = np.maximum(computed_s, streamed_s)
        busy_s: FloatArray = np.choose(beside, (together_s, apart_s))
        least_s = np.maximum(least_s, busy_s + data.optimizer_s[rank])
    # Without a barrier the step time is a period, which gathers may also shorten: they come
    # before the passes that the neighbouring steps fill.
    if schedule.joins_before_optimizer:
        least_s = np.maximum(least_s, passes_s)
    bound_s: FloatArray = least_s * _LAYERS_ROUND
    return bound_s
