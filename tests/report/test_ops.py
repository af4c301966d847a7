from __future__ import annotations

from simulator.report.ops import COMMUNICATION, LABELS, drawn_ops
from simulator.report.report import Report
from simulator.workload.op import OpPhase


def test_every_phase_has_words():
    assert set(LABELS) == set(OpPhase)
    assert OpPhase.F not in COMMUNICATION


def test_joins_are_not_drawn_and_the_rest_comes_by_start(report: Report):
    assert report.timeline is not None
    ops = drawn_ops(report.timeline)
    assert ops.index.size == report.timeline.graph.num_ops - 1
    assert int(OpPhase.JOIN) not in ops.phase
    assert (ops.start_s[1:] >= ops.start_s[:-1]).all()
    # Streams 0, 2 and 4 of the fixture belong to rank 0.
    assert set(ops.process[ops.stream % 2 == 0].tolist()) == {0}
