import numpy as np
import pytest
from hypothesis import given, settings

from simulator.engine import des, maxplus
from simulator.workload.draft import GraphDraft
from simulator.workload.op import Stream
from tests.engine.graphs import Draft, drafts, wide_draft

ROUNDING = 1e-12
"""Fair shares multiply and divide by the number of flows; a few dozen roundings of 1e-16."""


@given(drafts())
@settings(deadline=None)
def test_equals_maxplus_without_sharing(draft: Draft) -> None:
    graph = draft.build()
    duration_s = draft.class_s[graph.op_class]
    start_s, end_s = maxplus.solve(graph, duration_s)
    timeline = des.simulate(graph, duration_s)
    np.testing.assert_allclose(timeline.start_s, start_s, rtol=ROUNDING)
    np.testing.assert_allclose(timeline.end_s, end_s, rtol=ROUNDING)


def test_equals_maxplus_on_a_wide_graph() -> None:
    draft = wide_draft(seed=7)
    graph = draft.build()
    duration_s = draft.class_s[graph.op_class]
    timeline = des.simulate(graph, duration_s)
    np.testing.assert_allclose(timeline.end_s, maxplus.solve(graph, duration_s)[1], rtol=ROUNDING)


@given(drafts(resources=2))
@settings(deadline=None)
def test_is_never_earlier_than_maxplus_with_sharing(draft: Draft) -> None:
    graph = draft.build()
    duration_s = draft.class_s[graph.op_class]
    start_s, end_s = maxplus.solve(graph, duration_s)
    timeline = des.simulate(graph, duration_s)
    slack_s = ROUNDING * timeline.makespan_s
    assert (timeline.start_s >= start_s - slack_s).all()
    assert (timeline.end_s >= end_s - slack_s).all()
    assert (timeline.end_s - timeline.start_s >= duration_s - slack_s).all()


@given(drafts(resources=1))
@settings(deadline=None)
def test_a_resource_serves_no_more_than_its_rate(draft: Draft) -> None:
    graph = draft.build()
    duration_s = draft.class_s[graph.op_class]
    timeline = des.simulate(graph, duration_s)
    served = graph.resource == 0
    if served.any():
        span_s = timeline.end_s[served].max() - timeline.start_s[served].min()
        assert span_s >= duration_s[served].sum() * (1 - ROUNDING)


@given(drafts(resources=2))
@settings(deadline=None)
def test_runs_are_alike_to_the_last_bit(draft: Draft) -> None:
    graph = draft.build()
    duration_s = draft.class_s[graph.op_class]
    first, second = des.simulate(graph, duration_s), des.simulate(graph, duration_s)
    np.testing.assert_array_equal(first.end_s, second.end_s)


def two_transfers(resource_of_second: int, streams: int = 2) -> tuple[float, float]:
    """End of a transfer of 3 s and of one of 1 s, the second behind 1 s of compute."""
    draft = GraphDraft()
    link = draft.add_resource("nic 0")
    draft.add_resource("nic 1")
    nodes = [draft.add_stream(Stream("pp", rank)) for rank in range(streams)]
    compute = draft.add_stream(Stream("compute", 1))
    first = draft.add_ops(0, nodes[0], resource=link)
    work = draft.add_ops(1, compute)
    second = draft.add_ops(2, nodes[-1], resource=resource_of_second)
    draft.add_edges(work, second)
    assert (first[0], second[0]) == (0, 2)
    graph = draft.build(["long", "compute", "short"])
    timeline = des.simulate(graph, np.array([3.0, 1.0, 1.0])[graph.op_class])
    end_s = dict(zip(graph.op_class.tolist(), timeline.end_s.tolist(), strict=True))
    return end_s[0], end_s[2]


def test_streams_on_one_resource_share_it() -> None:
    # From 1 s on both run at half rate: the second's 1 s takes until 3. The first then has
    # 3 - 1 - 1 = 1 s left, alone: until 4.
    assert two_transfers(resource_of_second=0) == (4.0, 3.0)


def test_other_resources_do_not_share() -> None:
    assert two_transfers(resource_of_second=1) == (3.0, 2.0)


def test_one_stream_runs_in_order_at_full_rate() -> None:
    assert two_transfers(resource_of_second=0, streams=1) == (3.0, 4.0)


def test_ops_without_a_stream_run_as_soon_as_they_may() -> None:
    # Two producers of 1 s and 2 s, a join of no time, then two joins of 1 s side by side.
    draft = GraphDraft()
    streams = np.array([draft.add_stream(Stream("compute", rank)) for rank in range(2)])
    produced = draft.add_ops(np.array([0, 1]), streams)
    join = draft.add_ops(2, -1)
    after = draft.add_ops(np.array([0, 0]), -1)
    draft.add_edges(produced, join)
    draft.add_edges(join, after)
    graph = draft.build(["one", "two", "none"])
    timeline = des.simulate(graph, np.array([1.0, 2.0, 0.0])[graph.op_class])
    assert sorted(timeline.end_s.tolist()) == [1.0, 2.0, 2.0, 3.0, 3.0]


def test_unstreamed_ops_share_a_resource() -> None:
    draft = GraphDraft()
    draft.add_ops(np.array([0, 0]), -1, resource=draft.add_resource("nic"))
    graph = draft.build(["one"])
    assert graph.has_shared_resources
    assert des.simulate(graph, np.ones(2)).end_s.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("num_ops", [0, 1])
def test_tiny_graphs(num_ops: int) -> None:
    draft = GraphDraft()
    draft.add_ops(np.zeros(num_ops), -1)
    timeline = des.simulate(draft.build(["op"]), np.full(num_ops, 1.5))
    assert timeline.makespan_s == 1.5 * num_ops
