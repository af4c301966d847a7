"""The high-water mark on timelines small enough to follow by hand, and laws on random ones."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.highwater import MAX_HISTORY, high_water
from simulator.engine.timeline import Timeline
from simulator.workload.op import OpGraph, OpPhase, Stream

F, B, W = OpPhase.F, OpPhase.B, OpPhase.W
CLASSES = ("forward", "backward", "weight", "none")


ONE_STREAM = (Stream("compute", 0),)


def timeline(ops, streams=ONE_STREAM) -> Timeline:
    """Ops as (class, phase, microbatch, start, end) or with a stream index at the end."""
    rows = np.array([(*op, 0)[:6] for op in ops], dtype=np.float64).reshape(-1, 6)
    kind, phase, microbatch = rows[:, :3].astype(np.int64).T
    stream = rows[:, 5].astype(np.int64)
    none = np.full(len(rows), -1, dtype=np.int64)
    graph = OpGraph(
        op_class=kind,
        stream=stream,
        resource=none,
        coupled=none == 0,
        phase=phase,
        stage=np.where(stream >= 0, 0, -1),
        microbatch=microbatch,
        pred_offsets=np.zeros(len(rows) + 1, dtype=np.int64),
        preds=np.zeros(0, dtype=np.int64),
        stream_pred=none,
        level_offsets=np.array([0, len(rows)]),
        streams=streams,
        resources=(),
        class_names=CLASSES,
    )
    return Timeline(graph, rows[:, 3], rows[:, 4], "test")


# A forward acquires 10, a backward 3 for itself, and releases 13 (or 9 when 4 stay for W).
ALLOC = np.array([10.0, 3.0, 0.0, 0.0])
FREE = np.array([0.0, 13.0, 0.0, 0.0])
FREE_SPLIT = np.array([0.0, 9.0, 4.0, 0.0])


def test_two_microbatches_by_hand():
    """F0 F1 B0 B1: 10, 20, 23 while B0 runs, then 10 + 3."""
    line = timeline([(0, F, 0, 0, 1), (0, F, 1, 1, 2), (1, B, 0, 2, 4), (1, B, 1, 4, 6)])
    got = high_water(line, ALLOC, FREE, rank=0)
    assert (got.peak_bytes, got.peak_at_s, got.inflight) == (23.0, 2.0, 2)
    assert got.history_s == (0, 0, 1, 2, 4, 4, 6)
    assert got.history_bytes == (0, 10, 20, 23, 10, 13, 0)


def test_release_comes_before_acquisition_at_the_same_moment():
    """B0 ends as F1 starts: never more than one microbatch and the backward's own 3."""
    line = timeline([(0, F, 0, 0, 1), (1, B, 0, 1, 2), (0, F, 1, 2, 3), (1, B, 1, 3, 4)])
    got = high_water(line, ALLOC, FREE, rank=0)
    assert (got.peak_bytes, got.peak_at_s, got.inflight) == (13.0, 1.0, 1)


def test_weight_backward_releases_the_microbatch():
    """F0 B0 F1 B1 W0 W1: 4 bytes of microbatch 0 stay, so B1 runs at 4 + 10 + 3 with 2 held."""
    line = timeline(
        [(0, F, 0, 0, 1), (1, B, 0, 1, 2), (0, F, 1, 2, 3), (1, B, 1, 3, 4), (2, W, 0, 4, 5),
         (2, W, 1, 5, 6)]
    )  # fmt: skip
    got = high_water(line, ALLOC, FREE_SPLIT, rank=0)
    assert (got.peak_bytes, got.peak_at_s, got.inflight) == (17.0, 3.0, 2)
    assert got.history_bytes[-1] == 0


def test_only_the_streams_of_the_rank_and_replica_count():
    streams = (
        Stream("compute", 0),
        Stream("compute", 1),
        Stream("dp", 1),
        Stream("compute", 1, replica=1),
    )
    line = timeline(
        [(0, F, 0, 0, 1, 0), (0, F, 0, 1, 2, 1), (1, F, 0, 1.5, 2, 2), (0, F, 0, 1, 2, 3),
         (0, F, 0, 0, 0, -1)],
        streams,
    )  # fmt: skip
    assert high_water(line, ALLOC, FREE, rank=0).peak_bytes == 10
    assert high_water(line, ALLOC, FREE, rank=1).peak_bytes == 13
    assert high_water(line, ALLOC, FREE, rank=1, replica=1).peak_bytes == 10


def test_nothing_held():
    got = high_water(timeline([(3, F, 0, 0, 1)]), ALLOC, FREE, rank=0)
    assert (got.peak_bytes, got.peak_at_s) == (0.0, 0.0)
    assert high_water(timeline([]), ALLOC, FREE, rank=0).history_bytes == (0.0,)


@st.composite
def schedules(draw):
    """Forwards and backwards one after another, never more backwards than forwards."""
    ops, held, done, clock = [], 0, 0, 0.0
    for _ in range(draw(st.integers(1, 40))):
        backward = held > done and draw(st.booleans())
        end = clock + draw(st.sampled_from([0.5, 1.0, 2.0]))
        ops.append((1, B, done, clock, end) if backward else (0, F, held, clock, end))
        held, done, clock = held + (not backward), done + backward, end
    return ops


@given(schedules())
@settings(deadline=None)
def test_equals_a_walk_over_the_ops(ops):
    held = peak = 0.0
    for kind, *_ in ops:
        held += ALLOC[kind]
        peak = max(peak, held)
        held -= FREE[kind]
    got = high_water(timeline(ops), ALLOC, FREE, rank=0)
    assert got.peak_bytes == peak
    assert got.history_bytes[-1] == held
    assert max(got.history_bytes) == peak
    assert got.peak_bytes - 10 * got.inflight in (0, 3)


def test_history_is_short_and_keeps_the_peak():
    """All forwards, then all backwards, 200k of each: the peak is the first backward."""
    count = 200_000
    times = np.arange(2 * count + 1.0)
    ops = np.zeros((2 * count, 6))
    ops[:, 0] = ops[:, 1] = np.repeat([0, 1], count)
    ops[:, 2] = np.tile(np.arange(count), 2)
    ops[:, 3], ops[:, 4] = times[:-1], times[1:]
    line = timeline(ops)
    start = time.perf_counter()
    got = high_water(line, ALLOC, FREE, rank=0)
    # About 0.1 s; the bound only has to tell numpy from a loop over 400k ops on a busy machine.
    assert time.perf_counter() - start < 5
    assert len(got.history_s) <= MAX_HISTORY
    assert got.peak_bytes == pytest.approx(10.0 * count + 3)
    assert (got.peak_at_s, got.inflight) == (count, count)
    assert got.peak_bytes in got.history_bytes
    assert got.history_bytes[-1] == 0
    assert list(got.history_s) == sorted(got.history_s)
