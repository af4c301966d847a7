"""What the passes of a batch take, sends and data-parallel traffic beside them included.

Follows ``workload/lower``: what that adds to the graph between passes is added here to columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.numeric import FloatArray, IntArray, as_float, whole_ticks
from simulator.schedule.action import Phase, Schedule
from simulator.search.batch import Batch
from simulator.search.data_parallel import DataColumns, RankColumns, StageColumns
from simulator.search.passes import Beside, More, Work
from simulator.search.prices import Branch
from simulator.search.space import SCHEDULE_NAMES
from simulator.search.steady import period_of
from simulator.search.unique import distinct
from simulator.workload.slowed import bucket_slowed_s


@dataclass(frozen=True, slots=True)
class StepPrices:
    """Prices of the steps of a batch.

    Attributes:
        phases_s: [phases, 4, kinds, candidates], terms of the passes of every distinct kind of
            stage: computed, recomputed, overhead, exposed.
        data: prices of data parallelism, once per distinct column.
        column: [candidates], which column of ``data`` each has.
    """

    phases_s: FloatArray
    data: DataColumns
    column: IntArray

    @classmethod
    def of(cls, batch: Batch) -> StepPrices:
        """The prices of all candidates of a batch."""
        data, column = _data_columns(batch)
        return cls(_phases_s(batch), data, column)

    @property
    def ranks(self) -> RankColumns:
        """Of every rank, a column per candidate."""
        return self.data.ranks_of(self.column)

    @property
    def stages(self) -> StageColumns:
        """Of every stage, a column per candidate."""
        return self.data.stages_of(self.column)

    def take(self, rows: IntArray) -> StepPrices:
        """Those of some candidates."""
        return StepPrices(self.phases_s[..., rows], self.data, self.column[rows])


def _phases_s(batch: Batch) -> FloatArray:
    """See ``StepPrices.phases_s``."""
    candidates, splits = batch.candidates, batch.schedule.splits_backward
    unique, inverse = distinct(
        [
            (candidates.tp > 1).astype(np.int64),
            candidates.sequence_parallel,
            candidates.overlap_tp,
            candidates.recompute,
            candidates.recompute_layers,
        ]
    )
    seconds = np.stack(
        [
            np.stack(
                [
                    batch.prices.pass_seconds(
                        kind,
                        Branch(bool(has_tp), bool(sequence), bool(overlap), splits),
                        mode,
                        layers,
                    )
                    for kind in batch.layout.distinct
                ],
                axis=2,
            )
            for has_tp, sequence, overlap, mode, layers in unique.tolist()
        ],
        axis=3,
    )
    return seconds[:, :, :, inverse, batch.spot]


def _data_columns(batch: Batch) -> tuple[DataColumns, IntArray]:
    """Prices of data parallelism, and which of the columns is every candidate's."""
    candidates = batch.candidates
    parts: list[DataColumns] = []
    column_of, num_columns = np.empty(len(batch), dtype=np.int64), 0
    has_dp = (candidates.dp > 1).astype(np.int64)
    unique, inverse = distinct([candidates.sharding, has_dp])
    for index, (sharding, _) in enumerate(unique.tolist()):
        rows = np.flatnonzero(inverse == index)
        tps, column = np.unique(candidates.tp[rows], return_inverse=True)
        parts.append(batch.prices.data(batch.pipeline, tps, sharding))
        column_of[rows] = num_columns + column
        num_columns += tps.size
    return DataColumns.joined(parts), column_of


def pass_work(batch: Batch, prices: StepPrices, beside_key: IntArray) -> Work:
    """What the passes of a pipeline take in rows that all send beside compute, or all within.

    Args:
        batch: rows that agree in ``overlap_pp``.
        prices: of its steps.
        beside_key: [candidates], 0 if nothing of data parallelism is beside the passes, 1 if
            reductions are, 2 if gathers are as well.
    """
    beside_compute = bool(batch.candidates.overlap_pp[0])
    send_s = np.nan_to_num(_send_columns(batch))
    scale = as_float(batch.prices.base.stack.blocking_p2p_scale)
    blocking_s = whole_ticks(send_s * (not beside_compute) * scale)
    kind_index, none = batch.layout.kind_index, np.zeros((1, len(batch)))
    ticks_s = whole_ticks(prices.phases_s)[:, :, kind_index]
    return Work(
        _durations(ticks_s, batch.schedule, blocking_s),
        send_s=np.concatenate((whole_ticks(send_s), none)) if beside_compute else None,
        beside=_beside(batch, prices, blocking_s, beside_key),
        more=_more(batch),
    )


def _more(batch: Batch) -> More | None:
    """Periods of the pipeline that candidates have more than the schedule."""
    schedule = batch.schedule
    microbatches = batch.candidates.microbatches - schedule.num_microbatches
    if not microbatches.any():
        return None
    name = SCHEDULE_NAMES[int(batch.candidates.schedule[0])]
    period = period_of(name, schedule.num_ranks, schedule.num_chunks)
    return period and More(period, microbatches // period.step)


def _send_columns(batch: Batch) -> FloatArray:
    """Transfer from every stage to the next; NaN within a rank. [stages - 1, candidates]."""
    candidates, schedule = batch.candidates, batch.schedule
    unique, inverse = distinct([candidates.tp, candidates.sequence_parallel])
    seconds = np.stack(
        [
            batch.prices.send_seconds(
                tp,
                schedule.num_ranks,
                schedule.stage_rank,
                Branch(tp > 1, bool(sequence), overlap_tp=False, splits=False),
            )
            for tp, sequence in unique.tolist()
        ],
        axis=1,
    )
    return seconds[:, inverse, batch.spot]


def _durations(terms: FloatArray, schedule: Schedule, blocking_s: FloatArray) -> FloatArray:
    """Seconds of every phase of every stage, blocking sends included. [3 * stages, rows].

    Args:
        terms: [phases, 4, stages, rows].
        schedule: for its number of stages.
        blocking_s: [stages - 1, rows], 0 where nothing is sent.
    """
    none = np.zeros((1, blocking_s.shape[1]))
    after = {
        Phase.F: np.concatenate((blocking_s, none)),
        Phase.B: np.concatenate((none, blocking_s)),
        Phase.W: np.zeros((schedule.num_stages, blocking_s.shape[1])),
    }
    return np.concatenate([terms[phase].sum(axis=0) + after[phase] for phase in Phase])


def _beside(
    batch: Batch, prices: StepPrices, blocking_s: FloatArray, key: IntArray
) -> Beside | None:
    """Reductions and gathers beside the passes; see ``pass_work``.

    Rows without them run along: their last backward is one piece, and reductions take no time.
    """
    if not key.any():
        return None
    schedule, data = batch.schedule, prices.stages
    reduces, gathers = key > 0, key == 2
    pieces = np.where(reduces, data.pieces, 1)
    phase = Phase.W if schedule.splits_backward else Phase.B
    own_s = prices.phases_s[phase][:, batch.layout.kind_index]
    piece_s = whole_ticks(own_s / pieces).sum(axis=0)
    computed_s = (own_s[0] + own_s[1]) / pieces
    slowed_s = bucket_slowed_s(computed_s, data.reduce_piece_s, pieces, batch.accelerator)
    piece_s = piece_s + whole_ticks(np.where(reduces, slowed_s, 0.0))
    none = np.zeros((1, key.size))
    send_s = np.concatenate((none, blocking_s)) if phase is Phase.B else 0.0
    stream_s = np.zeros((schedule.num_ranks, key.size))
    gathered_s = np.zeros((schedule.num_stages, key.size)) if gathers.any() else None
    if gathered_s is not None:
        for stage, rank in enumerate(schedule.stage_rank.tolist()):
            stream_s[rank] += np.where(gathers, data.gather_s[stage], 0.0)
            gathered_s[stage] = stream_s[rank]
    return Beside(
        gathered_s=gathered_s,
        reduce_s=np.where(reduces, data.reduce_piece_s, 0.0),
        piece_s=piece_s,
        last_piece_s=piece_s + send_s,
        pieces=pieces,
        stream_s=stream_s,
    )
