"""Step times without a pipeline: one rank, whose microbatches follow one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.numeric import BoolArray, FloatArray, IntArray, ceil_div, whole_ticks
from simulator.schedule.action import Phase
from simulator.search.data_parallel import DataColumns
from simulator.search.layout import Layout
from simulator.search.prices import Prices
from simulator.search.space import SHARDING_NAMES, Candidates
from simulator.search.steady import after_periods
from simulator.search.stream import served_s
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

    def repeat(
        self,
        count: IntArray,
        pass_s: FloatArray,
        reduce_s: FloatArray,
        rows: tuple[BoolArray, BoolArray],
    ) -> None:
        """Passes, with a reduction after each in some rows.

        Args:
            count: [rows], passes.
            pass_s: of a pass.
            reduce_s: of its reduction.
            rows: in which the reduction is beside compute, and in which there is one.
        """
        beside, reduces = rows
        in_line_s = np.where(reduces & ~beside, reduce_s, 0.0)
        after_s = served_s(self.data_s, self.compute_s + pass_s, pass_s, count, reduce_s)
        self.compute_s = self.compute_s + count * (pass_s + in_line_s)
        self.data_s = np.where(reduces & beside, after_s, self.data_s)

    def reduce(self, seconds: FloatArray, beside: BoolArray, rows: BoolArray) -> None:
        """A reduction, beside compute or in its stream."""
        after = np.maximum(self.compute_s, self.data_s) + seconds
        self.data_s = np.where(rows & beside, after, self.data_s)
        self.compute_s = np.where(rows & ~beside, self.compute_s + seconds, self.compute_s)


def single_rank_s(
    candidates: Candidates, prices: Prices, terms: FloatArray, data: DataColumns, layout: Layout
) -> FloatArray:
    """Step times of candidates with pp 1. [candidates].

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
            candidates.take(rows), prices, terms[..., rows], data.ranks.optimizer_s[0, rows], layout
        )
    return step_s


def _whole_weights_s(
    candidates: Candidates, prices: Prices, terms: FloatArray, data: DataColumns, rows: IntArray
) -> FloatArray:
    """Weights are on the device; gradients leave at the end, or after every microbatch."""
    forward_s = whole_ticks(terms[Phase.F]).sum(axis=0)
    backward_s = whole_ticks(terms[Phase.B]).sum(axis=0)
    pieces = np.where(candidates.overlap_dp == 1, data.stages.pieces[0, rows], 1)
    piece_s = whole_ticks(terms[Phase.B] / pieces).sum(axis=0)
    beside, has_dp = candidates.overlap_dp == 1, candidates.dp > 1
    every = _EVERY[candidates.sharding] & has_dp
    gathers = _AFTER[candidates.sharding] & has_dp
    whole_s, reduce_s = data.stages.reduce_s[0, rows], data.stages.reduce_piece_s[0, rows]
    begin_s = prices.begin_s
    gathered_s = np.where(gathers & beside, data.stages.gather_s[0, rows], 0.0)
    clock = _Clock(np.maximum(begin_s, gathered_s), gathered_s)
    clock.repeat(candidates.microbatches - 1, forward_s + backward_s, whole_s, (beside, every))
    clock.compute_s = clock.compute_s + forward_s
    clock.repeat(pieces, piece_s, reduce_s, (beside, beside & has_dp))
    left_s: FloatArray = data.ranks.reduce_s[0, rows].copy()
    left_s[every] = whole_s[every]
    clock.reduce(left_s, beside, ~beside & has_dp)
    end_s = np.maximum(clock.compute_s, clock.data_s) + data.ranks.optimizer_s[0, rows]
    end_s[gathers & ~beside] += data.ranks.gather_s[0, rows][gathers & ~beside]
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
        whole_ticks(terms[phase, :2] / pieces).sum(axis=0)
        + whole_ticks((terms[phase, 2] + host_s[phase]) / pieces)
        + whole_ticks(terms[phase, 3] / pieces)
        for phase in (Phase.F, Phase.B)
    ]
    beside = candidates.overlap_dp == 1
    work = _Layers(gather_s, piece_s, reduce_s, pieces)
    in_line = np.flatnonzero(~beside)
    end_s = np.empty(len(candidates))
    end_s[in_line] = work.take(in_line).in_line_s(prices.begin_s, candidates.microbatches[in_line])
    # A few microbatches at the end gather less than others.
    depth = prices.base.plan.prefetch_depth
    last = np.minimum(candidates.microbatches, ceil_div(depth + 1, 2 * pieces))
    for count in np.unique(last[beside]).tolist():
        rows = np.flatnonzero(beside & (last == count))
        before = candidates.microbatches[rows] - count
        end_s[rows] = work.take(rows).ahead_s(prices.begin_s, before, count, depth)
    return end_s + optimizer_s


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
