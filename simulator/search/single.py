"""Step times without a pipeline: one rank, whose microbatches follow one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulator.numeric import BoolArray, FloatArray, IntArray, ceil_div, whole_ticks
from simulator.schedule.action import Phase
from simulator.search.batch import Batch
from simulator.search.pass_work import StepPrices
from simulator.search.policies import (
    gathers_after_step,
    gathers_before_use,
    reduces_every_microbatch,
)
from simulator.search.steady import after_periods
from simulator.search.stream import served_s
from simulator.search.unique import distinct
from simulator.workload.price import slowed_s
from simulator.workload.slowed import bucket_slowed_s


@dataclass(slots=True)
class _Clock:
    """[rows]: when the compute stream and the data-parallel stream are free."""

    compute_s: FloatArray
    data_s: FloatArray

    def repeat(
        self,
        count: IntArray,
        pass_s: FloatArray,
        reduce_s: FloatArray,
        *,
        reduces: BoolArray,
        beside: BoolArray,
    ) -> None:
        """Passes, with a reduction after each in some rows.

        Args:
            count: [rows], passes.
            pass_s: of a pass.
            reduce_s: of its reduction.
            reduces: in which rows there is a reduction.
            beside: in which rows it would be beside compute.
        """
        in_line_s = np.where(reduces & ~beside, reduce_s, 0.0)
        after_s = served_s(self.data_s, self.compute_s + pass_s, pass_s, count, reduce_s)
        self.compute_s = self.compute_s + count * (pass_s + in_line_s)
        self.data_s = np.where(reduces & beside, after_s, self.data_s)


def single_rank_s(batch: Batch, prices: StepPrices) -> FloatArray:
    """Step times of candidates with pp 1. [candidates]."""
    step_s = np.empty(len(batch))
    gathered = gathers_before_use(batch.candidates)
    for rows, times_s in (
        (np.flatnonzero(~gathered), _whole_weights_s),
        (np.flatnonzero(gathered), _gathered_weights_s),
    ):
        if rows.size:
            step_s[rows] = times_s(batch.take(rows), prices.take(rows))
    return step_s


def _whole_weights_s(batch: Batch, prices: StepPrices) -> FloatArray:
    """Weights are on the device; gradients leave at the end, or after every microbatch."""
    candidates, terms, begin_s = batch.candidates, prices.phases_s[:, :, 0], batch.prices.begin_s
    stages, ranks = prices.stages, prices.ranks
    beside, has_dp = candidates.overlap_dp == 1, candidates.dp > 1
    every, gathers = reduces_every_microbatch(candidates), gathers_after_step(candidates)
    pieces = np.where(beside, stages.pieces[0], 1)
    forward_s = whole_ticks(terms[Phase.F]).sum(axis=0)
    backward_s = whole_ticks(terms[Phase.B]).sum(axis=0)
    piece_s = whole_ticks(terms[Phase.B] / pieces).sum(axis=0)
    computed_s = (terms[Phase.B, 0] + terms[Phase.B, 1]) / pieces
    slower_s = bucket_slowed_s(computed_s, stages.reduce_piece_s[0], pieces, batch.accelerator)
    piece_s = piece_s + whole_ticks(np.where(beside, slower_s, 0.0))
    gathered_s = np.where(gathers & beside, stages.gather_s[0], 0.0)
    clock = _Clock(np.maximum(begin_s, gathered_s), gathered_s)
    clock.repeat(
        candidates.microbatches - 1,
        forward_s + backward_s,
        stages.reduce_s[0],
        reduces=every,
        beside=beside,
    )
    # The last backward is cut into pieces, each followed by its reduction.
    clock.compute_s = clock.compute_s + forward_s
    reduces = beside & has_dp
    clock.repeat(pieces, piece_s, stages.reduce_piece_s[0], reduces=reduces, beside=beside)
    left_s: FloatArray = np.choose(every, (ranks.reduce_s[0], stages.reduce_s[0]))
    clock.compute_s = clock.compute_s + np.where(~beside & has_dp, left_s, 0.0)
    end_s = np.maximum(clock.compute_s, clock.data_s) + ranks.optimizer_s[0]
    return end_s + np.where(gathers & ~beside, ranks.gather_s[0], 0.0)


def _gathered_weights_s(batch: Batch, prices: StepPrices) -> FloatArray:
    """Weights are gathered layer by layer before use, ``prefetch_depth`` layers ahead."""
    candidates, begin_s = batch.candidates, batch.prices.begin_s
    work = _layers(batch, prices.phases_s[:, :, 0])
    beside = candidates.overlap_dp == 1
    in_line = np.flatnonzero(~beside)
    end_s = np.empty(len(batch))
    end_s[in_line] = work.take(in_line).in_line_s(begin_s, candidates.microbatches[in_line])
    # A few microbatches at the end gather less than others.
    depth = batch.prices.base.plan.prefetch_depth
    last = np.minimum(candidates.microbatches, ceil_div(depth + 1, 2 * work.num_pieces))
    for count in np.unique(last[beside]).tolist():
        rows = np.flatnonzero(beside & (last == count))
        before = candidates.microbatches[rows] - count
        end_s[rows] = work.take(rows).ahead_s(begin_s, before, count, depth)
    return end_s + prices.ranks.optimizer_s[0]


def _layers(batch: Batch, terms: FloatArray) -> _Layers:
    """What the layers of every candidate take.

    Args:
        batch: with pp 1.
        terms: [phases, 4, candidates], of its one stage.
    """
    candidates, layout = batch.candidates, batch.layout
    pieces = layout.kinds[0].num_pieces
    unique, inverse = distinct([candidates.tp, candidates.recompute, candidates.sharding])
    traffic = np.array(
        [
            batch.prices.layer_traffic_s(tp, layout, recompute=mode, sharding=sharding)
            for tp, mode, sharding in unique.tolist()
        ]
    )[inverse].T
    gather_s, reduce_s, host_s = traffic[0:2], traffic[2], traffic[3:5]
    beside_s = (gather_s[Phase.F], gather_s[Phase.B] + reduce_s)
    slowed = [
        slowed_s((terms[phase, 0] + terms[phase, 1]) / pieces, beside_s[phase], batch.accelerator)
        for phase in (Phase.F, Phase.B)
    ]
    piece_s = [
        whole_ticks(terms[phase, :2] / pieces).sum(axis=0)
        + whole_ticks(np.where(candidates.overlap_dp == 1, slowed[phase], 0.0))
        + whole_ticks((terms[phase, 2] + host_s[phase]) / pieces)
        + whole_ticks(terms[phase, 3] / pieces)
        for phase in (Phase.F, Phase.B)
    ]
    return _Layers(gather_s, piece_s, reduce_s, pieces)


@dataclass(frozen=True, slots=True)
class _Layers:
    """Layers of a microbatch whose weights are gathered, pass after pass.

    Attributes:
        gather_s: [2, rows], of one layer for a forward and for a backward.
        piece_s: forward and backward of one layer, [rows] each.
        reduce_s: [rows], of one layer.
        num_pieces: layers.
    """

    gather_s: FloatArray
    piece_s: list[FloatArray]
    reduce_s: FloatArray
    num_pieces: int

    def take(self, rows: IntArray) -> _Layers:
        """Some of the rows."""
        piece_s = [one[rows] for one in self.piece_s]
        return _Layers(self.gather_s[:, rows], piece_s, self.reduce_s[rows], self.num_pieces)

    def in_line_s(self, begin_s: float, count: IntArray) -> FloatArray:
        """End of ``count`` microbatches with everything on the compute stream."""
        layer_s = self.gather_s[0] + self.gather_s[1] + self.piece_s[0] + self.piece_s[1]
        return begin_s + count * self.num_pieces * (layer_s + self.reduce_s)

    def ahead_s(self, begin_s: float, before: IntArray, count: int, depth: int) -> FloatArray:
        """Gathers and reductions on a stream of their own; at most ``depth + 1`` gathered pieces.

        Args:
            begin_s: when compute begins.
            before: [rows], microbatches before the last ``count``.
            count: last microbatches, that of the rest only what is left is gathered.
            depth: layers that are gathered ahead.
        """
        total = 2 * self.num_pieces * (count + int(before.max(initial=0)))
        held = min(depth + 1, total)
        compute_s, data_s = np.full(before.size, begin_s), np.zeros(before.size)
        gathered: list[FloatArray] = []
        for piece in range(held):
            data_s = data_s + self.gather_s[self._phase(piece)]
            gathered.append(data_s)

        def microbatch_of(rows: IntArray) -> Callable[[FloatArray], FloatArray]:
            own = self.take(rows)
            return lambda state_s: own._pieces(state_s, range(2 * self.num_pieces), held, None)

        state_s = after_periods(np.stack((compute_s, data_s, *gathered)), before, microbatch_of)
        last = 2 * self.num_pieces * count
        return self._pieces(state_s, range(last), held, last)[:2].max(axis=0)

    def _phase(self, piece: int) -> Phase:
        return Phase.F if piece % (2 * self.num_pieces) < self.num_pieces else Phase.B

    def _pieces(
        self, state_s: FloatArray, pieces: range, held: int, total: int | None
    ) -> FloatArray:
        """Some pieces after a state: ends of both streams, then of the gathers that are ahead."""
        compute_s, data_s = state_s[0], state_s[1]
        gathered = list(state_s[2:])
        for piece in pieces:
            phase = self._phase(piece)
            compute_s = np.maximum(compute_s, gathered.pop(0)) + self.piece_s[phase]
            if phase is Phase.B:
                data_s = np.maximum(data_s, compute_s) + self.reduce_s
            if total is None or piece + held < total:
                ahead_s = self.gather_s[self._phase(piece + held)]
                data_s = np.maximum(data_s, compute_s) + ahead_s
                gathered.append(data_s)
        return np.stack((compute_s, data_s, *gathered))
