from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine import des, maxplus
from simulator.engine.flow import fair_rates
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


def test_a_flow_alone_runs_at_full_speed() -> None:
    assert fair_rates({7: ((0, 1.0), (1, 0.3))}) == {7: 1.0}


def test_two_flows_halve_a_resource_that_both_fill() -> None:
    assert fair_rates({0: ((0, 1.0),), 1: ((0, 1.0),)}) == {0: 0.5, 1: 0.5}


def test_what_one_flow_cannot_use_the_other_gets() -> None:
    # On resource 0 both load 1.0 at full speed. Flow 1 also shares resource 1 with two others, so
    # that it runs at 1/3; flow 0 takes the 2/3 that are left of resource 0.
    flows: dict[int, Flow] = {
        0: ((0, 1.0),),
        1: ((0, 1.0), (1, 1.0)),
        2: ((1, 1.0),),
        3: ((1, 1.0),),
    }
    rates = fair_rates(flows)
    assert rates == pytest.approx({0: 2 / 3, 1: 1 / 3, 2: 1 / 3, 3: 1 / 3})


@given(flow_lists)
@settings(deadline=None)
def test_no_resource_is_loaded_above_its_bandwidth(flows: list[Flow]) -> None:
    rates = fair_rates(dict(enumerate(flows)))
    for resource in range(4):
        load = sum(
            share * rates[key]
            for key, flow in enumerate(flows)
            for r, share in flow
            if r == resource
        )
        assert load <= 1 + ROUNDING
    assert all(0 < rate <= 1 for rate in rates.values())


@given(flow_lists)
@settings(deadline=None)
def test_a_slowed_flow_meets_a_full_resource_on_which_no_flow_is_faster(flows: list[Flow]) -> None:
    rates = fair_rates(dict(enumerate(flows)))
    for key, flow in enumerate(flows):
        if rates[key] >= 1 - ROUNDING:
            continue
        bottlenecks = [
            resource
            for resource, _ in flow
            if sum(s * rates[k] for k, f in enumerate(flows) for r, s in f if r == resource)
            > 1 - 1e-6
            and all(
                rates[k] <= rates[key] * (1 + 1e-6)
                for k, f in enumerate(flows)
                if any(r == resource for r, _ in f)
            )
        ]
        assert bottlenecks


def _side_by_side(flows: list[Flow]) -> OpGraph:
    draft = GraphDraft()
    for resource in range(4):
        draft.add_resource(f"part {resource}")
    for rank, flow in enumerate(flows):
        stream = draft.add_stream(Stream("copy", rank))
        draft.add_ops(np.array([rank, rank]), stream, flow=draft.add_flow(flow))
    return draft.build([f"copy {rank}" for rank in range(len(flows))])


def test_two_copies_of_one_second_over_one_full_resource_take_two() -> None:
    graph = _side_by_side([((0, 1.0),), ((0, 1.0),)])
    timeline = des.simulate(graph, np.ones(4))
    # Both streams have two ops of 1 s, at half speed: 2 s each, 4 s in all.
    assert timeline.end_s == pytest.approx([2, 2, 4, 4])


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
