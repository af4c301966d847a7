from __future__ import annotations

import numpy as np
import pytest

from simulator.workload.classes import CostTableDraft
from simulator.workload.draft import GraphDraft
from simulator.workload.op import Stream


def test_halves_share_what_is_not_elsewhere() -> None:
    """4 s of compute, and 3 s of messages of which 2 s go elsewhere: 2 + 0.5 s each.

    The second half sends, too; memory is taken by the first and given back by the second.
    """
    table = CostTableDraft()
    terms = {"compute": 4.0, "tp_comm": 3.0, "pp_comm": 1.0}
    row = table.add("pass", terms, alloc_bytes=10.0, free_bytes=6.0)
    first, second = table.halves(row, {"tp_comm": 2.0}, at_end="pp_comm")
    built = table.build()
    assert built.seconds[[row, first, second]] == pytest.approx([8.0, 2.5, 3.5])
    assert built.alloc_bytes[[first, second]].tolist() == [10.0, 0.0]
    assert built.free_bytes[[first, second]].tolist() == [0.0, 6.0]


def test_what_waits_for_an_op_that_is_cut_waits_for_its_end() -> None:
    draft = GraphDraft()
    stream = draft.add_stream(Stream("compute", 0))
    whole = draft.add_ops(0, stream, order=0.0, phase=0)
    after = draft.add_ops(2, -1, phase=1)
    draft.add_edges(whole, after)
    end = draft.add_ops(1, stream, order=0.5, phase=2)
    draft.end_with(whole, np.array([3]), end)
    graph = draft.build(["whole", "end", "after", "head"])
    assert [graph.class_names[row] for row in graph.op_class] == ["head", "end", "after"]
    assert graph.preds.tolist() == [1]
