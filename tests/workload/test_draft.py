import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine import maxplus
from simulator.errors import ScheduleError
from simulator.workload.draft import GraphDraft
from simulator.workload.op import OpPhase, Stream
from tests.engine.graphs import Draft, drafts


def test_a_graph_by_hand() -> None:
    # Rank 0 runs x then y, rank 1 runs z; z waits for x (said twice) and y for z.
    draft = GraphDraft()
    streams = [draft.add_stream(Stream("compute", rank)) for rank in range(2)]
    x, y = draft.add_ops(np.array([0, 1]), streams[0], microbatch=np.array([5, 6]))
    z = draft.add_ops(2, streams[1], phase=OpPhase.B, stage=1, coupled=True)
    draft.add_edges(np.array([x, x]), z)
    draft.add_edges(z, y)
    draft.add_edges(x, y)  # the stream implies it
    graph = draft.build(["x", "y", "z"])
    assert graph.op_class.tolist() == [0, 2, 1]
    assert graph.stream.tolist() == [0, 1, 0]
    assert graph.microbatch.tolist() == [5, -1, 6]
    assert graph.phase.tolist() == [-1, OpPhase.B, -1]
    assert graph.stage.tolist() == [-1, 1, -1]
    assert graph.coupled.tolist() == [False, True, False]
    assert graph.stream_pred.tolist() == [-1, -1, 0]
    assert graph.pred_offsets.tolist() == [0, 0, 1, 2]
    assert graph.preds.tolist() == [0, 1]
    assert graph.level_offsets.tolist() == [0, 1, 2, 3]
    assert graph.class_names == ("x", "y", "z")


@given(drafts())
@settings(deadline=None)
def test_graphs_are_in_level_order(draft: Draft) -> None:
    graph = draft.build()
    index = np.arange(graph.num_ops)
    level = np.searchsorted(graph.level_offsets, index, side="right") - 1
    op = np.repeat(index, np.diff(graph.pred_offsets))
    in_stream = np.flatnonzero(graph.stream_pred >= 0)
    all_ops = np.concatenate((op, in_stream))
    all_preds = np.concatenate((graph.preds, graph.stream_pred[in_stream]))
    deepest_pred = np.full(graph.num_ops, -1)
    np.maximum.at(deepest_pred, all_ops, level[all_preds])
    np.testing.assert_array_equal(level, deepest_pred + 1)
    num_preds = np.bincount(all_ops, minlength=graph.num_ops)
    assert (np.diff(num_preds)[np.diff(level) == 0] <= 0).all()
    assert len(set(zip(all_ops.tolist(), all_preds.tolist(), strict=True))) == all_ops.size


@given(drafts())
@settings(deadline=None)
def test_streams_run_in_order(draft: Draft) -> None:
    graph = draft.build()
    for stream in range(len(graph.streams)):
        ops = np.flatnonzero(graph.stream == stream)
        assert (np.diff(graph.op_class[ops]) > 0).all()  # class = position in these drafts
        assert graph.stream_pred[ops].tolist() == [-1, *ops[:-1]][: ops.size]


@given(drafts(), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_adding_does_not_matter(draft: Draft, random) -> None:
    shuffled = list(range(draft.stream.size))
    random.shuffle(shuffled)
    ends = []
    for graph in (draft.build(), draft.build(np.array(shuffled))):
        end_s = maxplus.solve(graph, draft.class_s[graph.op_class])[1]
        ends.append(end_s[np.argsort(graph.op_class)])
    np.testing.assert_array_equal(*ends)


def test_equal_positions_run_in_the_order_of_adding() -> None:
    draft = GraphDraft()
    stream = draft.add_stream(Stream("compute", 0))
    draft.add_ops(np.array([0, 1, 2]), stream, order=np.array([1.0, 0.0, 0.0]))
    assert draft.build(["a", "b", "c"]).op_class.tolist() == [1, 2, 0]


def test_without_positions_a_stream_runs_in_the_order_of_adding() -> None:
    draft = GraphDraft()
    stream = draft.add_stream(Stream("compute", 0))
    for op_class in (2, 0, 1):
        draft.add_ops(op_class, stream, order=None)
    assert draft.build(["a", "b", "c"]).op_class.tolist() == [2, 0, 1]


def test_edges_broadcast() -> None:
    draft = GraphDraft()
    before, after = draft.add_ops(np.array([0, 0]), -1), draft.add_ops(np.array([1, 1, 1]), -1)
    draft.add_edges(before[:, np.newaxis], after)
    graph = draft.build(["before", "after"])
    assert graph.level_offsets.tolist() == [0, 2, 5]
    assert graph.preds.tolist() == [0, 1] * 3


def test_a_deadlock_names_its_ops() -> None:
    # Rank 0 wants B0 before F1, but rank 1 needs F1 before it can give B0 back.
    draft = GraphDraft()
    first, second = (draft.add_stream(Stream("compute", rank)) for rank in range(2))
    ops0 = draft.add_ops(
        0, first, phase=np.array([OpPhase.B, OpPhase.F]), stage=0, microbatch=np.array([0, 1])
    )
    ops1 = draft.add_ops(
        0, second, phase=np.array([OpPhase.F, OpPhase.B]), stage=1, microbatch=np.array([1, 0])
    )
    after = draft.add_ops(0, draft.add_stream(Stream("dp", 0)), phase=OpPhase.OPTIMIZER)
    draft.add_edges(ops0[1], ops1[0])
    draft.add_edges(ops1[1], ops0[0])
    draft.add_edges(ops0[1], after)
    gathered = draft.add_ops(0, -1, phase=OpPhase.GATHER_WEIGHTS)
    draft.add_edges(gathered, ops0)
    with pytest.raises(ScheduleError) as caught:
        draft.build(["op"])
    message = str(caught.value)
    assert "deadlock: 4 ops wait for each other" in message
    for op in ("B stage 0 microbatch 0 on compute of rank 0", "F stage 1 microbatch 1"):
        assert op in message
    assert "OPTIMIZER" not in message  # blocked by the cycle, but no part of it
    assert "GATHER_WEIGHTS" not in message  # the cycle waits for it, but it can run


def test_a_long_cycle_is_cut_short() -> None:
    draft = GraphDraft()
    ops = draft.add_ops(np.zeros(30), -1)
    draft.add_edges(ops, np.roll(ops, 1))
    with pytest.raises(ScheduleError, match=r"30 ops(.|\n)*and 22 more"):
        draft.build(["op"])


@pytest.mark.parametrize(("pred", "op"), [(-1, 0), (0, 3)])
def test_edges_need_known_ops(pred: int, op: int) -> None:
    draft = GraphDraft()
    draft.add_ops(np.zeros(3), -1)
    with pytest.raises(IndexError, match="from 0 to 2"):
        draft.add_edges(pred, op)


def test_streams_and_resources_are_known_by_value() -> None:
    draft = GraphDraft()
    assert [draft.add_stream(Stream("dp", rank)) for rank in (0, 1, 0)] == [0, 1, 0]
    assert [draft.add_resource(name) for name in ("a", "b", "a")] == [0, 1, 0]


def test_columns_are_copied() -> None:
    draft = GraphDraft()
    classes = np.array([1, 2])
    draft.add_ops(classes, -1)
    classes[:] = 0
    assert draft.num_ops == 2
    assert sorted(draft.build(["a", "b", "c"]).op_class.tolist()) == [1, 2]


def test_an_empty_draft_is_an_empty_graph() -> None:
    graph = GraphDraft().build([])
    assert graph.num_ops == 0
    assert graph.level_offsets.tolist() == [0]
