"""Step times without a pipeline: one rank, whose microbatches follow one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.numeric import BoolArray, FloatArray, IntArray, as_float
from simulator.schedule.action import Phase
from simulator.search.data_parallel import DataColumns
from simulator.search.layout import Layout
from simulator.search.prices import Prices
from simulator.search.space import SHARDING_NAMES, Candidates
from simulator.search.unique import distinct
from simulator.sharding import SHARDING

_EVERY: Final = np.array([SHARDING[name].reduce_every_microbatch for name in SHARDING_NAMES])
_AFTER: Final = np.array([SHARDING[name].gather == "after_step" for name in SHARDING_NAMES])
_BEFORE: Final = np.array([SHARDING[name].gather == "before_use" for name in SHARDING_NAMES])


@dataclass(slots=True)
class _Clock:
    """[rows]: when the compute stream and the data-parallel stream are free."""

    compute_s: FloatArray
    data_s: FloatArray

    def reduce(self, seconds: FloatArray, beside: BoolArray, rows: BoolArray) -> None:
        """A reduction, beside compute or in its stream."""
        after = np.maximum(self.compute_s, self.data_s) + seconds
        self.data_s = np.where(rows & beside, after, self.data_s)
        self.compute_s = np.where(rows & ~beside, self.compute_s + seconds, self.compute_s)


def single_rank_s(
    candidates: Candidates, prices: Prices, terms: FloatArray, data: DataColumns, layout: Layout
) -> FloatArray:
    """Step times of candidates with pp 1 and the same number of microbatches. [candidates].

    Args:
        candidates: with pp 1.
        prices: of the search.
        terms: [phases, 4, candidates] as ``pass_phases_s`` gives them for the one stage.
        data: prices of data parallelism.
        layout: one stage.
    """
    step_s = np.empty(len(candidates))
    sharded = _BEFORE[candidates.sharding] & (candidates.dp > 1)
    whole = np.flatnonzero(~sharded)
    if whole.size:
        step_s[whole] = _whole_weights_s(
            candidates.take(whole), prices, terms[..., whole], data, whole
        )
    rows = np.flatnonzero(sharded)
    if rows.size:
        step_s[rows] = _gathered_weights_s(
            candidates.take(rows), prices, terms[..., rows], data.optimizer_s[0, rows], layout
        )
    return step_s


def _device_s(terms: FloatArray, num_pieces: IntArray | float = 1.0) -> FloatArray:
    return terms[0] / num_pieces + terms[1] / num_pieces + terms[2] / num_pieces


def _whole_weights_s(
    candidates: Candidates, prices: Prices, terms: FloatArray, data: DataColumns, rows: IntArray
) -> FloatArray:
    """Weights are on the device; gradients leave at the end, or after every microbatch."""
    forward_s = _device_s(terms[Phase.F]) + terms[Phase.F, 3]
    backward_s = _device_s(terms[Phase.B]) + terms[Phase.B, 3]
    pieces = np.where(candidates.overlap_dp == 1, data.pieces[0, rows], 1)
    piece_s = _device_s(terms[Phase.B], pieces) + terms[Phase.B, 3] / pieces
    beside, has_dp = candidates.overlap_dp == 1, candidates.dp > 1
    every = _EVERY[candidates.sharding] & has_dp
    gathers = _AFTER[candidates.sharding] & has_dp
    whole_s, reduce_s = data.reduce_whole_s[0, rows], data.reduce_stage_s[0, rows]
    begin_s = as_float(prices.base.stack.step_overhead_s)
    gathered_s = np.where(gathers & beside, data.gather_stage_s[0, rows], 0.0)
    clock = _Clock(np.maximum(begin_s, gathered_s), gathered_s)
    for _ in range(int(candidates.microbatches[0]) - 1):
        clock.compute_s = clock.compute_s + forward_s + backward_s
        if every.any():
            clock.reduce(whole_s, beside, every)
    clock.compute_s = clock.compute_s + forward_s
    for piece in range(int(pieces.max())):
        there = piece < pieces
        clock.compute_s = np.where(there, clock.compute_s + piece_s, clock.compute_s)
        clock.reduce(reduce_s, beside, there & beside & has_dp)
    left_s: FloatArray = data.reduce_rank_s[0, rows].copy()
    left_s[every] = whole_s[every]
    clock.reduce(left_s, beside, ~beside & has_dp)
    end_s = np.maximum(clock.compute_s, clock.data_s) + data.optimizer_s[0, rows]
    end_s[gathers & ~beside] += data.gather_rank_s[0, rows][gathers & ~beside]
    return end_s


def _gathered_weights_s(
    candidates: Candidates,
    prices: Prices,
    terms: FloatArray,
    optimizer_s: FloatArray,
    layout: Layout,
) -> FloatArray:
    """Weights are gathered layer by layer before use, ``prefetch_depth`` layers ahead."""
    pieces = max(layout.kinds[0].num_layers, 1)
    unique, inverse = distinct([candidates.tp, candidates.recompute, candidates.sharding])
    traffic = np.array(
        [
            prices.layer_traffic_s(tp, layout, recompute=mode, sharding=sharding)
            for tp, mode, sharding in unique.tolist()
        ]
    )[inverse].T
    gather_s, reduce_s, host_s = traffic[0:2], traffic[2], traffic[3:5]
    piece_s = [
        terms[phase, 0] / pieces
        + terms[phase, 1] / pieces
        + (terms[phase, 2] + host_s[phase]) / pieces
        + terms[phase, 3] / pieces
        for phase in (Phase.F, Phase.B)
    ]
    beside = candidates.overlap_dp == 1
    begin_s = as_float(prices.base.stack.step_overhead_s)
    count = int(candidates.microbatches[0])
    end_s = np.empty(len(candidates))
    for rows, run in ((np.flatnonzero(~beside), _in_line), (np.flatnonzero(beside), _ahead)):
        if rows.size:
            end_s[rows] = run(
                begin_s,
                (gather_s[:, rows], [one[rows] for one in piece_s], reduce_s[rows]),
                (count, pieces),
                prices.base.plan.prefetch_depth,
            )
    return end_s + optimizer_s


def _in_line(
    begin_s: float,
    seconds: tuple[FloatArray, list[FloatArray], FloatArray],
    counts: tuple[int, int],
    _depth: int,
) -> FloatArray:
    """Everything on the compute stream, one after the other."""
    gather_s, piece_s, reduce_s = seconds
    now = np.full(reduce_s.size, begin_s)
    for _ in range(counts[0]):
        for phase in (Phase.F, Phase.B):
            for _ in range(counts[1]):
                now = now + gather_s[phase] + piece_s[phase]
                if phase is Phase.B:
                    now = now + reduce_s
    return now


def _ahead(
    begin_s: float,
    seconds: tuple[FloatArray, list[FloatArray], FloatArray],
    counts: tuple[int, int],
    depth: int,
) -> FloatArray:
    """Gathers and reductions on a stream of their own; at most ``depth + 1`` gathered pieces."""
    gather_s, piece_s, reduce_s = seconds
    num_microbatches, num_pieces = counts
    per_microbatch = 2 * num_pieces
    total = num_microbatches * per_microbatch

    def phase_of(piece: int) -> Phase:
        return Phase.F if piece % per_microbatch < num_pieces else Phase.B

    compute_s, data_s = np.full(reduce_s.size, begin_s), np.zeros(reduce_s.size)
    gathered: list[FloatArray] = []
    for piece in range(min(depth + 1, total)):
        data_s = data_s + gather_s[phase_of(piece)]
        gathered.append(data_s)
    for piece in range(total):
        phase = phase_of(piece)
        compute_s = np.maximum(compute_s, gathered.pop(0)) + piece_s[phase]
        if phase is Phase.B:
            data_s = np.maximum(data_s, compute_s) + reduce_s
        if piece + depth + 1 < total:
            data_s = np.maximum(data_s, compute_s) + gather_s[phase_of(piece + depth + 1)]
            gathered.append(data_s)
    return np.maximum(compute_s, data_s)
