"""Attribution of a rank's time on graphs drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.engine.breakdown import compute_ops, critical_rank, period_s, time_terms
from simulator.engine.run import execute
from simulator.engine.timeline import Timeline
from simulator.workload.classes import CostTable, CostTableDraft
from simulator.workload.draft import GraphDraft
from simulator.workload.op import OpPhase, Stream

ROWS = {
    "pass": {"compute": 1.0},
    "pass and send": {"compute": 1.0, "pp_comm": 0.5},
    "send": {"pp_comm": 0.5},
    "reduce": {"dp_comm": 2.0},
    "optimizer": {"optimizer": 0.25},
    "join": {},
}


class Sketch:
    """A graph in few words; streams are ``(name, rank)``."""

    def __init__(self) -> None:
        self.draft = GraphDraft()
        costs = CostTableDraft()
        self.rows = {name: costs.add(name, terms) for name, terms in ROWS.items()}
        self.table: CostTable = costs.build()

    def op(self, name: str, stream: tuple[str, int], phase: OpPhase, *after: int) -> int:
        (op,) = self.draft.add_ops(
            self.rows[name], self.draft.add_stream(Stream(*stream)), phase=int(phase)
        )
        for pred in after:
            self.draft.add_edges(pred, op)
        return int(op)

    def run(self) -> Timeline:
        graph = self.draft.build(self.table.names)
        return execute(graph, self.table.seconds[graph.op_class])

    def terms(self, rank: int, **options: object) -> dict[str, float]:
        found = time_terms(self.run(), self.table, rank=rank, **options)
        return {term: seconds for term, seconds in found.items() if seconds}


def test_what_runs_has_its_own_terms_and_the_tail_is_bubble() -> None:
    sketch = Sketch()
    sketch.op("pass and send", ("compute", 0), OpPhase.F)
    sketch.op("optimizer", ("compute", 0), OpPhase.OPTIMIZER)
    for _ in range(3):
        sketch.op("pass", ("compute", 1), OpPhase.F)
    assert sketch.terms(0) == {"compute": 1.0, "pp_comm": 0.5, "optimizer": 0.25, "bubble": 1.25}
    assert sketch.terms(1) == {"compute": 3.0}


def test_a_wait_for_a_send_is_communication_as_far_as_it_ran() -> None:
    sketch = Sketch()
    first = sketch.op("pass", ("compute", 0), OpPhase.F)
    send = sketch.op("send", ("pp-forward", 0), OpPhase.SEND_ACTIVATION, first)
    sketch.op("pass", ("compute", 1), OpPhase.F, send)
    # Rank 1 waits 1 s for the pass and 0.5 s for the send.
    assert sketch.terms(1) == {"compute": 1.0, "pp_comm": 0.5, "bubble": 1.0}


def test_a_wait_for_a_blocking_send_is_communication_too() -> None:
    sketch = Sketch()
    first = sketch.op("pass and send", ("compute", 0), OpPhase.F)
    sketch.op("pass", ("compute", 1), OpPhase.F, first)
    assert sketch.terms(1) == {"compute": 1.0, "pp_comm": 0.5, "bubble": 1.0}


def test_only_what_is_not_hidden_behind_compute_is_exposed() -> None:
    sketch = Sketch()
    first = sketch.op("pass", ("compute", 0), OpPhase.F)
    sketch.op("pass", ("compute", 0), OpPhase.B)
    reduce = sketch.op("reduce", ("dp", 0), OpPhase.REDUCE_GRADIENTS, first)
    sketch.op("optimizer", ("compute", 0), OpPhase.OPTIMIZER, reduce)
    # It runs from 1 to 3, compute until 2.
    assert sketch.terms(0) == {"compute": 2.0, "dp_comm": 1.0, "optimizer": 0.25}


def test_a_queue_of_reductions_is_exposed_as_a_whole_and_seen_through_joins() -> None:
    sketch = Sketch()
    first = sketch.op("pass", ("compute", 0), OpPhase.F)
    for _ in range(3):
        sketch.op("reduce", ("dp", 0), OpPhase.REDUCE_GRADIENTS, first)
    done = sketch.op("join", ("dp", 0), OpPhase.JOIN)
    sketch.op("optimizer", ("compute", 0), OpPhase.OPTIMIZER, done)
    # Three reductions one after the other, from 1 to 7.
    assert sketch.terms(0) == {"compute": 1.0, "dp_comm": 6.0, "optimizer": 0.25}


def test_a_reduction_that_waits_for_another_rank_is_bubble_until_it_starts() -> None:
    sketch = Sketch()
    sketch.op("pass", ("compute", 0), OpPhase.F)
    others = [sketch.op("pass", ("compute", 1), OpPhase.F) for _ in range(3)]
    reduce = sketch.op("reduce", ("dp", 0), OpPhase.REDUCE_GRADIENTS, others[-1])
    sketch.op("optimizer", ("compute", 0), OpPhase.OPTIMIZER, reduce)
    # Rank 0 idles from 1 to 3, then the reduction runs until 5.
    assert sketch.terms(0) == {"compute": 1.0, "dp_comm": 2.0, "optimizer": 0.25, "bubble": 2.0}


def test_a_slow_rank_takes_longer_to_compute_but_not_to_communicate() -> None:
    sketch = Sketch()
    sketch.op("pass and send", ("compute", 0), OpPhase.F)
    graph = sketch.draft.build(sketch.table.names)
    timeline = execute(graph, np.array([2.5]))
    terms = time_terms(timeline, sketch.table, rank=0, speed=0.5)
    assert (terms["compute"], terms["pp_comm"], terms["bubble"]) == (2.0, 0.5, 0.0)


def test_a_rank_that_is_slow_in_forwards_takes_longer_for_those_alone() -> None:
    sketch = Sketch()
    for phase in (OpPhase.F, OpPhase.B):
        sketch.op("pass", ("compute", 0), phase)
    timeline = execute(sketch.draft.build(sketch.table.names), np.array([1.25, 1.0]))
    terms = time_terms(timeline, sketch.table, rank=0, forward_speed=0.8)
    assert (terms["compute"], terms["bubble"]) == (2.25, 0.0)


def staggered() -> Sketch:
    """Rank 0 works from 0 to 2, rank 1 from 1 to 4: its second pass waits for no one."""
    sketch = Sketch()
    first = sketch.op("pass", ("compute", 0), OpPhase.F)
    sketch.op("pass", ("compute", 0), OpPhase.B)
    sketch.op("pass", ("compute", 1), OpPhase.F, first)
    for _ in range(2):
        sketch.op("pass", ("compute", 1), OpPhase.B)
    return sketch


def test_with_a_barrier_a_period_is_the_makespan() -> None:
    sketch = staggered()
    assert period_s(sketch.run(), joined=True) == 4.0
    assert sketch.terms(0) == {"compute": 2.0, "bubble": 2.0}
    assert sketch.terms(1) == {"compute": 3.0, "bubble": 1.0}


def test_without_a_barrier_it_is_the_longest_way_of_a_rank() -> None:
    sketch = staggered()
    timeline = sketch.run()
    assert critical_rank(timeline, joined=False) == (1, 0)
    assert period_s(timeline, joined=False) == 3.0
    assert sketch.terms(1, joined=False) == {"compute": 3.0}
    assert sketch.terms(0, joined=False) == {"compute": 2.0}


def test_without_a_barrier_bubbles_between_passes_stay() -> None:
    sketch = Sketch()
    mine = sketch.op("pass", ("compute", 0), OpPhase.F)
    theirs = sketch.op("pass", ("compute", 1), OpPhase.F, mine)
    sketch.op("pass", ("compute", 0), OpPhase.B, theirs)
    # Rank 0 waits from 1 to 2, in the middle; rank 1 from 0 to 1, before its first pass.
    timeline = sketch.run()
    assert critical_rank(timeline, joined=False) == (0, 0)
    assert period_s(timeline, joined=False) == 3.0
    assert sketch.terms(0, joined=False) == {"compute": 2.0, "bubble": 1.0}


def test_the_critical_rank_of_joined_steps_is_the_busiest() -> None:
    assert critical_rank(staggered().run(), joined=True) == (1, 0)


def test_ops_of_a_compute_stream() -> None:
    timeline = staggered().run()
    ops = compute_ops(timeline, 1)
    np.testing.assert_array_equal(timeline.start_s[ops], [1.0, 2.0, 3.0])
    assert compute_ops(timeline, 5).size == 0


@pytest.mark.parametrize("joined", [True, False])
def test_terms_sum_to_the_period_of_the_critical_rank(joined: bool) -> None:
    sketch = staggered()
    rank, _ = critical_rank(sketch.run(), joined=joined)
    assert sum(sketch.terms(rank, joined=joined).values()) == period_s(sketch.run(), joined=joined)
