from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from simulator.engine.timeline import Timeline
from simulator.report.gantt import MAX_RECTS, MAX_ROWS, gantt, gantt_note
from simulator.report.report import Report
from simulator.workload.op import OpGraph, OpPhase, Stream

OP = re.compile(
    r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="[\d.]+" class="op ([\w-]+)">'
)


def lanes(num_ranks: int, num_ops: int, busy_share: float) -> Timeline:
    """``num_ops`` forwards per rank, each 1 s apart and ``busy_share`` of a second long."""
    size = num_ranks * num_ops
    start_s = np.tile(np.arange(num_ops, dtype=np.float64), num_ranks)
    none = np.full(size, -1, dtype=np.int64)
    graph = OpGraph(
        op_class=np.zeros(size, dtype=np.int64),
        stream=np.repeat(np.arange(num_ranks), num_ops),
        resource=none,
        coupled=np.zeros(size, dtype=np.bool_),
        phase=np.full(size, int(OpPhase.F)),
        stage=none,
        microbatch=np.tile(np.arange(num_ops), num_ranks),
        pred_offsets=np.zeros(size + 1, dtype=np.int64),
        preds=np.zeros(0, dtype=np.int64),
        stream_pred=none,
        level_offsets=np.array([0, size]),
        streams=tuple(Stream("compute", rank) for rank in range(num_ranks)),
        resources=(),
        class_names=("forward",),
    )
    return Timeline(graph, start_s, start_s + busy_share, "test")


def test_every_op_that_takes_time_is_a_rectangle(report: Report):
    assert report.timeline is not None
    svg = gantt(report.timeline)
    kinds = [kind for *_, kind in OP.findall(svg)]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "op-forward": 4,
        "op-backward": 4,
        "op-pipeline-send": 4,
        "op-data-parallel-comm": 1,
        "op-optimizer": 1,
    }
    assert gantt_note(report.timeline) == ""


def test_rectangles_are_in_proportion_to_time_and_have_tips(report: Report):
    assert report.timeline is not None
    svg = gantt(report.timeline)
    widths = {kind: float(width) for _, _, width, kind in OP.findall(svg)}
    # A backward takes 2 ms, a forward 1 ms; widths are written with two decimals.
    assert widths["op-backward"] == pytest.approx(2 * widths["op-forward"], abs=0.02)
    assert "backward of microbatch 1, stage 0: 7.5 ms to 9.5 ms, takes 2 ms" in svg
    assert re.findall(r">(\d)</text>", svg).count("1") == 4


def test_every_rank_has_a_row_with_its_communicators_below(report: Report):
    assert report.timeline is not None
    svg = gantt(report.timeline)
    assert re.findall(r">(pipeline rank \d)</text>", svg) == ["pipeline rank 0", "pipeline rank 1"]
    rows = {y for _, y, _, kind in OP.findall(svg) if kind in ("op-forward", "op-backward")}
    sends = {y for _, y, _, kind in OP.findall(svg) if kind == "op-pipeline-send"}
    assert len(rows) == len(sends) == 2
    assert not rows & sends


def test_many_ops_become_shares_of_slices():
    timeline = lanes(num_ranks=2, num_ops=MAX_RECTS, busy_share=0.25)
    svg = gantt(timeline)
    assert not OP.findall(svg)
    assert "in slices of" in gantt_note(timeline)
    shares = re.findall(r"<title>forward: ([\d.]+) % of the step</title>", svg)
    # Every op is busy for a quarter of its second.
    assert [float(share) for share in shares] == pytest.approx([25.0, 25.0], abs=0.1)
    assert len(svg) < 20_000


def test_as_many_ops_as_allowed_are_still_drawn_one_by_one():
    timeline = lanes(num_ranks=2, num_ops=MAX_RECTS // 2, busy_share=0.5)
    assert len(OP.findall(gantt(timeline))) == MAX_RECTS
    assert gantt_note(timeline) == ""


def test_many_ranks_are_thinned_out_but_keep_both_ends():
    timeline = lanes(num_ranks=100, num_ops=2, busy_share=1.0)
    shown = re.findall(r">pipeline rank (\d+)</text>", gantt(timeline))
    assert len(shown) == MAX_ROWS
    assert (shown[0], shown[-1]) == ("0", "99")
    assert f"{MAX_ROWS} of 100 ranks are drawn." in gantt_note(timeline)


def test_weight_passes_and_overhead_have_their_own_kind(report: Report):
    timeline = report.timeline
    assert timeline is not None
    phase = np.where(timeline.graph.phase == OpPhase.B, int(OpPhase.W), timeline.graph.phase)
    phase = np.where(phase == OpPhase.OPTIMIZER, int(OpPhase.STEP_OVERHEAD), phase)
    changed = replace(timeline, graph=replace(timeline.graph, phase=phase))
    kinds = {kind for *_, kind in OP.findall(gantt(changed))}
    assert {"op-backward-of-weights", "op-overhead"} <= kinds
