from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine import des, maxplus
from simulator.numeric import TICK_S
from simulator.workload.draft import GraphDraft
from simulator.workload.op import Flow, OpGraph, Stream

ROUNDING = 1e-9
"""Sums of a few shares in float64."""

shares = st.floats(0.05, 1.0)
flow_lists = st.lists(
    st.dictionaries(st.integers(0, 3), shares, min_size=1, max_size=3).map(
        lambda parts: tuple(parts.items())
    ),
    min_size=1,
    max_size=6,
)


def _side_by_side(flows: list[Flow]) -> OpGraph:
    draft = GraphDraft()
    for resource in range(4):
        draft.add_resource(f"part {resource}")
    for rank, flow in enumerate(flows):
        stream = draft.add_stream(Stream("copy", rank))
        draft.add_ops(np.array([rank, rank]), stream, flow=draft.add_flow(flow))
    return draft.build([f"copy {rank}" for rank in range(len(flows))])


def test_what_one_copy_cannot_use_another_gets() -> None:
    """Four copies of 1 s. Three fill resource 1, the first of them resource 0 with another, too.

    The three run at 1/3 and take 3 s; the other has 2/3 of resource 0 and takes 1.5 s.
    """
    flows: list[Flow] = [((0, 1.0),), ((0, 1.0), (1, 1.0)), ((1, 1.0),), ((1, 1.0),)]
    timeline = des.simulate(_side_by_side(flows), np.repeat([1.0, 0.0], 4))
    # Ends are rounded up to whole ticks.
    assert timeline.end_s[:4] == pytest.approx([1.5, 3, 3, 3], abs=2 * TICK_S)


def test_two_copies_of_one_second_over_one_full_resource_take_two() -> None:
    graph = _side_by_side([((0, 1.0),), ((0, 1.0),)])
    timeline = des.simulate(graph, np.ones(4))
    # Both streams have two ops of 1 s, at half speed: 2 s each, 4 s in all.
    assert timeline.end_s == pytest.approx([2, 2, 4, 4])


@given(flow_lists, st.data())
@settings(deadline=None)
def test_the_order_in_which_flows_are_added_changes_nothing(
    flows: list[Flow], data: st.DataObject
) -> None:
    """Numbers of streams and of flows, and classes of any kind, by any order of the list."""
    each = [data.draw(st.tuples(st.floats(0.1, 5.0), st.integers(0, 2))) for _ in flows]
    order = data.draw(st.permutations(range(len(flows))))

    def ends_s(places: list[int]) -> list[float]:
        draft = GraphDraft()
        for resource in range(4):
            draft.add_resource(f"part {resource}")
        for rank, place in enumerate(places):
            flow = draft.add_flow(flows[place], each[place][1])
            draft.add_ops(place, draft.add_stream(Stream("copy", rank)), flow=flow)
        graph = draft.build([f"copy {place}" for place in range(len(flows))])
        seconds = np.array([own for own, _ in each])[graph.op_class]
        end_s = des.simulate(graph, seconds).end_s
        return end_s[np.argsort(graph.op_class)].tolist()

    # Sums of shares in another order, and ends on whole ticks.
    assert ends_s(list(order)) == pytest.approx(ends_s(list(range(len(flows)))), rel=1e-9)


def test_a_lower_class_goes_first_and_others_share_what_it_leaves() -> None:
    """Two copies of 1 s after one another on each of three streams, all over one resource.

    The first class takes the resource until 2 s. Both others then share it: 4 s of copies, to 6 s.
    """
    draft = GraphDraft()
    draft.add_resource("link")
    flow: Flow = ((0, 1.0),)
    for rank, number in enumerate((1, 0, 1)):
        stream = draft.add_stream(Stream("copy", rank))
        draft.add_ops(np.array([0, 0]), stream, flow=draft.add_flow(flow, number), phase=rank)
    graph = draft.build(["copy"])
    timeline = des.simulate(graph, np.ones(6))
    ends = {rank: sorted(timeline.end_s[graph.phase == rank]) for rank in range(3)}
    assert ends[1] == pytest.approx([1, 2])
    assert ends[0] == ends[2] == pytest.approx([4, 6])


def test_the_shorter_copy_leaves_its_share_to_the_longer() -> None:
    graph = _side_by_side([((0, 1.0),), ((0, 1.0),)])
    seconds = np.where(graph.op_class == 0, 1.0, 3.0)
    timeline = des.simulate(graph, seconds)
    # Together until 4 s (two copies of 1 s at half speed); by then 2 of the other's first 3 s are
    # done. Alone it needs 1 + 3 s more.
    assert timeline.makespan_s == pytest.approx(8.0)


@given(flow_lists, st.data())
@settings(deadline=None)
def test_maxplus_is_a_lower_bound_and_work_is_conserved(
    flows: list[Flow], data: st.DataObject
) -> None:
    graph = _side_by_side(flows)
    each = st.floats(0.1, 5.0)
    seconds = np.array(data.draw(st.lists(each, min_size=graph.num_ops, max_size=graph.num_ops)))
    timeline = des.simulate(graph, seconds)
    _, bound_s = maxplus.solve(graph, seconds)
    assert np.all(timeline.end_s >= bound_s * (1 - ROUNDING))
    for resource in range(4):
        share = np.array([dict(graph.flows[flow]).get(resource, 0.0) for flow in graph.flow])
        assert np.sum(share * seconds) <= timeline.makespan_s * (1 + ROUNDING)


def test_flows_of_one_stream_share_nothing() -> None:
    assert not _side_by_side([((0, 1.0),), ((1, 1.0),)]).has_shared_resources
    assert _side_by_side([((0, 1.0),), ((0, 0.5),)]).has_shared_resources
