"""Step times of candidates with the same pipeline, as columns: passes, then the end of the step.

Follows ``workload/lower``: what that adds to the graph is added here to columns, in the same
order, so that sums are equal to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.numeric import FloatArray, IntArray, as_float, whole_ticks
from simulator.schedule.action import Phase, Schedule
from simulator.schedule.table import build_schedule
from simulator.search.data_parallel import DataColumns, RankColumns, StageColumns
from simulator.search.gathered import gathered_bound_s, gathers_before_use
from simulator.search.layout import Layout
from simulator.search.passes import Beside, Ends, More, Work, solve_passes
from simulator.search.prices import Branch, Prices
from simulator.search.single import single_rank_s
from simulator.search.space import SCHEDULE_NAMES, SHARDING_NAMES, Candidates
from simulator.search.steady import period_of, representative
from simulator.search.unique import distinct
from simulator.sharding import SHARDING

PIPELINE = ("pp", "virtual_stages", "schedule", "balanced")
"""Columns that shape the passes, beside the number of microbatches."""
_PASSES = (
    "microbatches",
    "tp",
    "micro_batch_size",
    "sequence_parallel",
    "overlap_tp",
    "recompute",
    "recompute_layers",
)
"""Columns that price a pass."""


def pipeline_of(candidates: Candidates, prices: Prices) -> tuple[Schedule, Layout]:
    """Schedule and layout of candidates with one structure.

    The schedule has the fewest of their microbatches that ``representative`` allows.
    """
    first = {name: int(candidates.columns()[name][0]) for name in (*PIPELINE, "microbatches")}
    name, pp, chunks = SCHEDULE_NAMES[first["schedule"]], first["pp"], first["virtual_stages"]
    count = representative(name, pp, chunks, first["microbatches"])
    schedule = build_schedule(name, pp, count, chunks)
    return schedule, Layout.of(prices.base, schedule.num_stages, balanced=bool(first["balanced"]))


def step_times_s(
    candidates: Candidates, spot: IntArray, prices: Prices, schedule: Schedule, layout: Layout
) -> FloatArray:
    """Step times of candidates with one pipeline. [candidates].

    Args:
        candidates: that agree in the columns ``PIPELINE``.
        spot: [candidates], row of ``prices.spots``.
        prices: of the search.
        schedule: of the pipeline.
        layout: of the model on it.
    """
    phases_s = pass_phases_s(candidates, spot, prices, layout, schedule)
    data, column = data_columns(candidates, prices, schedule, layout)
    if schedule.num_ranks == 1:
        each = data.take(column)
        return single_rank_s(candidates, prices, phases_s[:, :, 0], each, layout)
    return _pipeline_s(candidates, spot, prices, (schedule, layout), (phases_s, data, column))


def pass_phases_s(
    candidates: Candidates, spot: IntArray, prices: Prices, layout: Layout, schedule: Schedule
) -> FloatArray:
    """Terms of every phase of every distinct kind of stage. [phases, 4, kinds, candidates]."""
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
                    prices.pass_seconds(
                        kind,
                        Branch(bool(has_tp), bool(sequence), bool(overlap), splits),
                        mode,
                        layers,
                    )
                    for kind in layout.distinct
                ],
                axis=2,
            )
            for has_tp, sequence, overlap, mode, layers in unique.tolist()
            for splits in (schedule.splits_backward,)
        ],
        axis=3,
    )
    return seconds[:, :, :, inverse, spot]


def data_columns(
    candidates: Candidates, prices: Prices, schedule: Schedule, layout: Layout
) -> tuple[DataColumns, IntArray]:
    """Prices of data parallelism, and which of the columns is every candidate's."""
    parts: list[DataColumns] = []
    column_of, num_columns = np.empty(len(candidates), dtype=np.int64), 0
    has_dp = (candidates.dp > 1).astype(np.int64)
    unique, inverse = distinct([candidates.sharding, has_dp])
    for index, (sharding, _) in enumerate(unique.tolist()):
        rows = np.flatnonzero(inverse == index)
        tps, column = np.unique(candidates.tp[rows], return_inverse=True)
        parts.append(prices.data(schedule, layout, tps, sharding))
        column_of[rows] = num_columns + column
        num_columns += tps.size
    return DataColumns.joined(parts), column_of


def _pipeline_s(
    candidates: Candidates,
    spot: IntArray,
    prices: Prices,
    pipeline: tuple[Schedule, Layout],
    seconds: tuple[FloatArray, DataColumns, IntArray],
) -> FloatArray:
    """Several pipeline ranks: the passes once per distinct row, then what follows them."""
    schedule, layout = pipeline
    phases_s, data, column = seconds
    columns = candidates.columns()
    gathers = _gathers_after(candidates)
    # Only what overlaps with passes changes them.
    before_use = gathers_before_use(candidates)
    beside_key = np.where((candidates.overlap_dp == 1) & ~before_use, 1 + gathers, 0)
    # Rows that send beside compute come last: they have more to do.
    _, inverse, firsts = distinct_rows(
        [candidates.overlap_pp, *(columns[name] for name in _PASSES), beside_key]
    )
    halves = np.split(firsts, [np.count_nonzero(candidates.overlap_pp[firsts] == 0)])
    parts = [
        _pass_ends(
            candidates.take(rows),
            send_columns(candidates.take(rows), spot[rows], prices, schedule),
            prices,
            pipeline,
            (phases_s[..., rows], data.stages_of(column[rows]), beside_key[rows]),
        )
        for rows in halves
        if rows.size
    ]
    ends = Ends.joined(parts).take(inverse)
    ranks = data.ranks_of(column)
    step_s = _end_of_step_s(
        candidates, schedule, ranks, ends, tied=data.has_tied, begin_s=prices.begin_s
    )
    rows = np.flatnonzero(before_use)
    if rows.size:
        step_s[rows] = gathered_bound_s(
            (schedule, layout.kind_index),
            candidates.take(rows),
            data.ranks_of(column[rows]),
            phases_s[..., rows],
            step_s[rows],
        )
    return step_s


def _pass_ends(
    candidates: Candidates,
    sends: FloatArray,
    prices: Prices,
    pipeline: tuple[Schedule, Layout],
    seconds: tuple[FloatArray, StageColumns, IntArray],
) -> Ends:
    """Ends of the passes of distinct rows that all send beside compute, or all within."""
    schedule, layout = pipeline
    phases_s, data, beside_key = seconds
    beside_compute = bool(candidates.overlap_pp[0])
    send_s = np.nan_to_num(sends)
    scale = as_float(prices.base.stack.blocking_p2p_scale)
    blocking = whole_ticks(send_s * (not beside_compute) * scale)
    terms = phases_s[:, :, layout.kind_index]
    none = np.zeros((1, len(candidates)))
    work = Work(
        _durations(whole_ticks(phases_s)[:, :, layout.kind_index], schedule, blocking),
        send_s=np.concatenate((whole_ticks(send_s), none)) if beside_compute else None,
        beside=_beside(schedule, terms, blocking, data, beside_key),
        more=_more(candidates, schedule),
    )
    return solve_passes(schedule, work, prices.begin_s)


def _more(candidates: Candidates, schedule: Schedule) -> More | None:
    """Periods of the pipeline that candidates have more than the schedule."""
    microbatches = candidates.microbatches - schedule.num_microbatches
    if not microbatches.any():
        return None
    name = SCHEDULE_NAMES[int(candidates.schedule[0])]
    period = period_of(name, schedule.num_ranks, schedule.num_chunks)
    return period and More(period, microbatches // period.step)


def _gathers_after(candidates: Candidates) -> IntArray:
    """Whether weights are gathered once a step. [candidates], 0 or 1."""
    after = np.array([SHARDING[name].gather == "after_step" for name in SHARDING_NAMES])
    return (after[candidates.sharding] & (candidates.dp > 1)).astype(np.int64)


def distinct_rows(columns: Sequence[IntArray]) -> tuple[IntArray, IntArray, IntArray]:
    """(distinct rows, which of them every row is, a row of each)."""
    unique, inverse = distinct(columns)
    firsts = np.zeros(len(unique), dtype=np.int64)
    firsts[inverse[::-1]] = np.arange(inverse.size)[::-1]
    return unique, inverse, firsts


def send_columns(
    candidates: Candidates, spot: IntArray, prices: Prices, schedule: Schedule
) -> FloatArray:
    """Transfer from every stage to the next; NaN within a rank. [stages - 1, candidates]."""
    unique, inverse = distinct([candidates.tp, candidates.sequence_parallel])
    seconds = np.stack(
        [
            prices.send_seconds(
                tp,
                schedule.num_ranks,
                schedule.stage_rank,
                Branch(tp > 1, bool(sequence), overlap_tp=False, splits=False),
            )
            for tp, sequence in unique.tolist()
        ],
        axis=1,
    )
    return seconds[:, inverse, spot]


def _durations(terms: FloatArray, schedule: Schedule, sends: FloatArray) -> FloatArray:
    """Seconds of every phase of every stage, blocking sends included. [3 * stages, rows].

    Args:
        terms: [phases, 4, stages, rows].
        schedule: for its number of stages.
        sends: [stages - 1, rows], 0 where nothing is sent.
    """
    none = np.zeros((1, sends.shape[1]))
    after = {
        Phase.F: np.concatenate((sends, none)),
        Phase.B: np.concatenate((none, sends)),
        Phase.W: np.zeros((schedule.num_stages, sends.shape[1])),
    }
    return np.concatenate([terms[phase].sum(axis=0) + after[phase] for phase in Phase])


def _beside(
    schedule: Schedule,
    terms: FloatArray,
    blocking: FloatArray,
    data: StageColumns,
    key: IntArray,
) -> Beside | None:
    """Reductions and gathers beside the passes; ``key`` 0 none, 1 reductions, 2 gathers as well.

    Rows without them run along: their last backward is one piece, and reductions take no time.
    """
    if not key.any():
        return None
    reduces, gathers = key > 0, key == 2
    pieces = np.where(reduces, data.pieces, 1)
    phase = Phase.W if schedule.splits_backward else Phase.B
    own = terms[phase]
    piece_s = whole_ticks(own / pieces).sum(axis=0)
    none = np.zeros((1, key.size))
    send = np.concatenate((none, blocking)) if phase is Phase.B else 0.0
    stream = np.zeros((schedule.num_ranks, key.size))
    gathered = np.zeros((schedule.num_stages, key.size)) if gathers.any() else None
    if gathered is not None:
        for stage, rank in enumerate(schedule.stage_rank.tolist()):
            stream[rank] += np.where(gathers, data.gather_s[stage], 0.0)
            gathered[stage] = stream[rank]
    return Beside(
        gathered_s=gathered,
        reduce_s=np.where(reduces, data.reduce_piece_s, 0.0),
        piece_s=piece_s,
        last_piece_s=piece_s + send,
        pieces=pieces,
        stream_s=stream,
    )


def _end_of_step_s(
    candidates: Candidates,
    schedule: Schedule,
    ranks: RankColumns,
    ends: Ends,
    *,
    tied: bool,
    begin_s: float,
) -> FloatArray:
    """Reductions, tied table, optimizer and gathers after the passes; then the period."""
    compute, reduced = ends.compute_s, ends.data_s
    beside = candidates.overlap_dp == 1
    has_dp = candidates.dp > 1
    compute = np.where(~beside & has_dp, compute + ranks.reduce_s, compute)
    if tied:
        first, last = int(schedule.stage_rank[0]), int(schedule.stage_rank[-1])
        ready = np.maximum(compute[[first, last]], reduced[[first, last]]).max(axis=0)
        compute[first] = ready + ranks.tied_s
        compute[last] = ready + ranks.tied_s
    joined = schedule.joins_before_optimizer
    own = np.maximum(compute, reduced)
    compute = (own.max(axis=0) if joined else own) + ranks.optimizer_s
    gathers = _gathers_after(candidates) == 1
    compute = np.where(~beside & gathers, compute + ranks.gather_s, compute)
    makespan = compute.max(axis=0)
    if joined:
        return makespan
    # As engine/breakdown.period_s: the neighbouring steps fill the waits at both ends.
    starts = ends.first_start_s
    gathered = np.where(beside & gathers, ranks.lead_gather_s, 0.0)
    lead = starts - begin_s
    waited = np.clip(gathered - begin_s, 0.0, lead)
    idle = lead - waited + makespan - compute
    return (makespan - idle).max(axis=0)
