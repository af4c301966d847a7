import numpy as np
import pytest
from hypothesis import given, settings

from simulator.engine.run import execute
from simulator.engine.timeline import busy_s, critical_path
from simulator.workload.draft import GraphDraft
from simulator.workload.op import Stream
from tests.engine.graphs import Draft, drafts


def test_busy_time_and_critical_path_by_hand() -> None:
    # Stream 0: a 0-1, d 3-4. Stream 1: b 0-2 and c 2-3. d waits for c: path b, c, d.
    draft = GraphDraft()
    streams = [draft.add_stream(Stream("compute", rank)) for rank in range(2)]
    a, b, c, d = (draft.add_ops(number, streams[s]) for number, s in enumerate([0, 1, 1, 0]))
    draft.add_edges(c, d)
    graph = draft.build(["a", "b", "c", "d"])
    timeline = execute(graph, np.array([1.0, 2.0, 1.0, 1.0])[graph.op_class])
    assert [graph.class_names[k] for k in graph.op_class[critical_path(timeline)]] == list("bcd")
    assert busy_s(timeline, 0) == 2.0
    assert busy_s(timeline, 1) == 3.0
    assert (a[0], b[0]) == (0, 1)


@given(drafts(resources=2))
@settings(deadline=None)
def test_the_critical_path_is_gapless_and_lasts_the_makespan(draft: Draft) -> None:
    graph = draft.build()
    timeline = execute(graph, draft.class_s[graph.op_class])
    path = critical_path(timeline)
    assert timeline.start_s[path[0]] == 0.0
    assert timeline.end_s[path[-1]] == timeline.makespan_s
    # An op starts at the very instant its last dependency ends.
    np.testing.assert_array_equal(timeline.start_s[path[1:]], timeline.end_s[path[:-1]])
    occupied_s = (timeline.end_s - timeline.start_s)[path].sum()
    assert occupied_s == pytest.approx(timeline.makespan_s, rel=1e-12)  # a sum of 24 differences


def test_nothing_to_do() -> None:
    timeline = execute(GraphDraft().build([]), np.empty(0))
    assert critical_path(timeline).size == 0
    assert timeline.makespan_s == 0.0
