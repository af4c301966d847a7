import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine import des, maxplus
from simulator.engine.columns import level_columns
from simulator.numeric import FloatArray
from simulator.workload.draft import GraphDraft
from simulator.workload.op import OpGraph, Stream
from tests.engine.graphs import Draft, drafts, ends_by_definition, wide_draft

ROUNDING = 1e-12
"""Sums of at most a few thousand doubles, in another order at most."""


def two_stage_pipeline() -> OpGraph:
    """Rank 0: F0 F1 B0 B1, rank 1: F0 B0 F1 B1, ops named by class F=0, B=1."""
    draft = GraphDraft()
    first, second = (draft.add_stream(Stream("compute", rank)) for rank in range(2))
    ops0 = draft.add_ops(np.array([0, 0, 1, 1]), first, stage=0)
    ops1 = draft.add_ops(np.array([0, 1, 0, 1]), second, stage=1)
    draft.add_edges(ops0[[0, 1]], ops1[[0, 2]])
    draft.add_edges(ops1[[1, 3]], ops0[[2, 3]])
    return draft.build(["F", "B"])


def random_batch(graph: OpGraph, rows: int, seed: int) -> FloatArray:
    return np.random.default_rng(seed).random((rows, graph.num_ops))


def unfold(graph: OpGraph, replicas: int) -> OpGraph:
    """One graph with all replicas; class r * ops + op. A join precedes every coupled op."""
    draft = GraphDraft()
    n = graph.num_ops
    ids = np.empty((replicas, n), dtype=np.int64)
    for replica in range(replicas):
        for stream in graph.streams:
            draft.add_stream(Stream(stream.name, stream.rank, replica))
        stream = np.where(graph.stream >= 0, graph.stream + replica * len(graph.streams), -1)
        ids[replica] = draft.add_ops(replica * n + np.arange(n), stream)
    for op in range(n):
        preds = graph.preds[graph.pred_offsets[op] : graph.pred_offsets[op + 1]]
        draft.add_edges(ids[:, preds], ids[:, [op]])
        if graph.coupled[op]:
            join = draft.add_ops(replicas * n, -1)
            stream_pred = graph.stream_pred[[op]]
            before = np.concatenate((preds, stream_pred[stream_pred >= 0]))
            draft.add_edges(ids[:, before].ravel(), join)
            draft.add_edges(join, ids[:, op])
    return draft.build([str(c) for c in range(replicas * n + 1)])


def test_pipeline_by_hand() -> None:
    # F = 1 s, B = 2 s. Rank 0: F0 0-1, F1 1-2. Rank 1: F0 1-2, B0 2-4, F1 4-5, B1 5-7.
    # Rank 0 waits for B0 until 4: B0 4-6; then for B1 until 7: B1 7-9.
    graph = two_stage_pipeline()
    start_s, end_s = maxplus.solve(graph, np.array([1.0, 2.0])[graph.op_class])
    rank0 = graph.stream == 0
    assert start_s[rank0].tolist() == [0, 1, 4, 7]
    assert end_s[rank0].tolist() == [1, 2, 6, 9]
    assert start_s[~rank0].tolist() == [1, 2, 4, 5]


@given(drafts())
@settings(deadline=None)
def test_solves_the_recurrence(draft: Draft) -> None:
    graph = draft.build()
    start_s, end_s = maxplus.solve(graph, draft.class_s[graph.op_class])
    np.testing.assert_allclose(end_s, ends_by_definition(draft, graph), rtol=ROUNDING)
    np.testing.assert_allclose(start_s + draft.class_s[graph.op_class], end_s, rtol=ROUNDING)


@pytest.mark.parametrize("seed", range(3))
def test_wide_graphs_by_level_equal_the_recurrence_and_the_loop(seed: int) -> None:
    draft = wide_draft(seed)
    graph = draft.build()
    assert graph.num_ops >= maxplus._WIDE_LEVEL * (graph.level_offsets.size - 1)
    duration_s = draft.class_s[graph.op_class]
    start_s, end_s = maxplus.solve(graph, duration_s)
    np.testing.assert_allclose(end_s, ends_by_definition(draft, graph), rtol=ROUNDING)
    np.testing.assert_array_equal((start_s, end_s), maxplus._solve_by_op(graph, duration_s))


@given(drafts(), st.integers(0, 9))
@settings(deadline=None)
def test_a_row_of_a_batch_equals_its_own_run(draft: Draft, seed: int) -> None:
    graph = draft.build()
    durations = random_batch(graph, 4, seed)
    batch_end_s = maxplus.solve_batch(graph, durations)
    for row in range(4):
        np.testing.assert_array_equal(batch_end_s[row], maxplus.solve(graph, durations[row])[1])


@given(drafts(), st.integers(0, 9))
@settings(deadline=None)
def test_coupled_rows_equal_the_unfolded_job(draft: Draft, seed: int) -> None:
    graph = draft.build()
    replicas = 3
    durations = random_batch(graph, replicas, seed)
    end_s = maxplus.solve_batch(graph, durations, couple=True)
    unfolded = unfold(graph, replicas)
    class_s = np.append(durations, 0.0)
    timeline = des.simulate(unfolded, class_s[unfolded.op_class])
    is_op = unfolded.op_class < replicas * graph.num_ops
    expected_s = np.empty(replicas * graph.num_ops)
    expected_s[unfolded.op_class[is_op]] = timeline.end_s[is_op]
    np.testing.assert_allclose(end_s.ravel(), expected_s, rtol=ROUNDING)


@given(drafts(), st.integers(0, 9))
@settings(deadline=None)
def test_coupling_makes_the_slowest_replica_hold_up_all(draft: Draft, seed: int) -> None:
    graph = draft.build()
    durations = random_batch(graph, 3, seed)
    alone_s = maxplus.solve_batch(graph, durations)
    coupled_s = maxplus.solve_batch(graph, durations, couple=True)
    assert (coupled_s >= alone_s).all()


@given(drafts(), st.integers(0, 9), st.booleans(), st.booleans())
@settings(deadline=None)
def test_makespans_of_a_batch(draft: Draft, seed: int, couple: bool, scaled: bool) -> None:
    graph = draft.build()
    rng = np.random.default_rng(seed)
    class_s = rng.random((5, len(graph.class_names)))
    scale = 1.0 + rng.random((5, len(graph.streams))) if scaled else None
    end_s = maxplus.solve_batch(graph, maxplus.op_durations(graph, class_s, scale), couple=couple)
    makespan_s = maxplus.makespan_s(graph, class_s, stream_scale=scale, couple=couple)
    np.testing.assert_array_equal(makespan_s, end_s.max(axis=1))


def test_chunks_of_a_batch_are_independent(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = two_stage_pipeline()
    class_s = np.random.default_rng(0).random((5, 2))
    whole = maxplus.makespan_s(graph, class_s)
    monkeypatch.setattr(maxplus, "_CHUNK_BYTES", 2 * 8 * graph.num_ops)  # chunks of 2, 2 and 1
    np.testing.assert_array_equal(maxplus.makespan_s(graph, class_s), whole)


def test_a_stream_scale_slows_the_ops_of_that_stream_only() -> None:
    draft = GraphDraft()
    streams = [draft.add_stream(Stream("compute", rank)) for rank in range(2)]
    draft.add_ops(0, np.array([streams[0], streams[1], -1]))
    graph = draft.build(["F"])
    durations = maxplus.op_durations(graph, np.array([2.0]), np.array([1.0, 1.5]))
    assert dict(zip(graph.stream.tolist(), durations.tolist(), strict=True)) == {
        0: 2.0,
        1: 3.0,
        -1: 2.0,
    }


def test_columns_list_every_dependency_once() -> None:
    graph = two_stage_pipeline()
    # Levels: r0F0 | r0F1 r1F0 | r1B0 | r0B0 r1F1 | r1B1 | r0B1, two dependencies where both the
    # stream and the other rank hold an op back.
    widths = [[column.size for column in columns] for columns in level_columns(graph)]
    assert widths == [[], [2], [1], [2, 2], [1], [1, 1]]


def test_an_empty_graph_takes_no_time() -> None:
    graph = GraphDraft().build([])
    assert maxplus.solve(graph, np.empty(0))[1].size == 0
    assert maxplus.makespan_s(graph, np.empty((3, 0))).tolist() == [0, 0, 0]
