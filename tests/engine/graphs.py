"""Random op graphs. Every op is a class of its own, so that classes identify ops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from simulator.numeric import FloatArray, IntArray
from simulator.workload.draft import GraphDraft
from simulator.workload.op import OpGraph, Stream


@dataclass(frozen=True)
class Draft:
    """Arguments of a draft; op i may only wait for smaller ones, so there is no cycle."""

    stream: IntArray
    resource: IntArray
    coupled: IntArray
    edges: IntArray
    class_s: FloatArray

    def build(self, order: IntArray | None = None) -> OpGraph:
        """The graph, its ops added in the given order (ids in the edges follow suit)."""
        n = self.stream.size
        order = np.arange(n) if order is None else order
        draft = GraphDraft()
        for rank in range(int(self.stream.max(initial=-1)) + 1):
            draft.add_stream(Stream("compute", rank))
        for number in range(int(self.resource.max(initial=-1)) + 1):
            draft.add_resource(f"link {number}")
        ids = draft.add_ops(
            order,
            self.stream[order],
            order=order.astype(float),
            resource=self.resource[order],
            coupled=self.coupled[order] > 0,
        )
        id_of = np.empty(n, dtype=np.int64)
        id_of[order] = ids
        draft.add_edges(id_of[self.edges[:, 0]], id_of[self.edges[:, 1]])
        return draft.build([str(op) for op in range(n)])


@st.composite
def drafts(draw: st.DrawFn, resources: int = 0, max_ops: int = 24) -> Draft:
    """Random streams (some ops have none), edges and durations (some of them zero)."""
    n = draw(st.integers(1, max_ops))

    def column(low: int, high: int) -> IntArray:
        return np.array(draw(st.lists(st.integers(low, high), min_size=n, max_size=n)))

    pairs = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=2 * n))
    edges = [(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]]
    seconds = st.one_of(st.just(0.0), st.floats(1e-6, 10.0))
    return Draft(
        stream=column(-1, 3),
        resource=column(-1, resources - 1),
        coupled=column(0, 1),
        edges=np.array(edges, dtype=np.int64).reshape(-1, 2),
        class_s=np.array(draw(st.lists(seconds, min_size=n, max_size=n))),
    )


def wide_draft(seed: int, ops: int = 1500, streams: int = 100) -> Draft:
    """A large draft with many ops per level."""
    rng = np.random.default_rng(seed)
    later = rng.integers(1, ops, 2 * ops)
    return Draft(
        stream=rng.integers(-1, streams, ops),
        resource=np.full(ops, -1),
        coupled=np.zeros(ops, dtype=np.int64),
        edges=np.stack([rng.integers(0, later), later], axis=1),
        class_s=rng.random(ops),
    )


def ends_by_definition(draft: Draft, graph: OpGraph) -> FloatArray:
    """[ops of the graph] end = max(end of dependencies) + duration, straight from the draft."""
    end_s = np.zeros(draft.stream.size)
    for op in range(end_s.size):
        same_stream = np.flatnonzero(draft.stream[:op] == draft.stream[op])
        preds = list(draft.edges[draft.edges[:, 1] == op, 0])
        preds += list(same_stream) if draft.stream[op] >= 0 else []
        end_s[op] = max((end_s[pred] for pred in preds), default=0.0) + draft.class_s[op]
    return end_s[graph.op_class]
