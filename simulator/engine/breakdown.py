"""Where the time of one rank goes: every instant of the step belongs to exactly one term."""

from __future__ import annotations

from typing import Final

import numpy as np

from simulator.engine.timeline import Timeline
from simulator.numeric import FloatArray, IntArray
from simulator.workload.classes import SPEED_SCALED, TERMS, CostTable
from simulator.workload.op import OpGraph, OpPhase

_COMM_TERM: Final = {
    OpPhase.SEND_ACTIVATION: "pp_comm",
    OpPhase.SEND_GRADIENT: "pp_comm",
    OpPhase.GATHER_WEIGHTS: "dp_comm",
    OpPhase.REDUCE_GRADIENTS: "dp_comm",
    OpPhase.GATHER_STEP: "dp_comm",
    OpPhase.LOAD_NVME: "offload",
    OpPhase.STORE_NVME: "offload",
    OpPhase.TO_DEVICE: "offload",
    OpPhase.TO_HOST: "offload",
    OpPhase.LOAD_STATES: "optimizer",
    OpPhase.STORE_STATES: "optimizer",
    OpPhase.HOST_OPTIMIZER: "optimizer",
}
ROUNDING: Final = 1e-12
"""Share of a step that sums of its terms may miss in floating point."""
_PP_COMM: Final = TERMS.index("pp_comm")


def compute_ops(timeline: Timeline, rank: int, replica: int = 0) -> IntArray:
    """Ops of a rank's compute stream in the order they ran."""
    for index, stream in enumerate(timeline.graph.streams):
        if (stream.name, stream.rank, stream.replica) == ("compute", rank, replica):
            return np.flatnonzero(timeline.graph.stream == index)
    return np.zeros(0, dtype=np.int64)


def critical_rank(timeline: Timeline, *, joined: bool) -> tuple[int, int]:
    """(rank, replica) that sets the pace of the steps.

    With a barrier in the step (``joined``) the one whose compute stream is busy longest. Without
    one the one with the longest way from its first pass to its end.
    """
    graph = timeline.graph
    computing = [i for i, stream in enumerate(graph.streams) if stream.name == "compute"]
    paces = [_pace_s(timeline, np.flatnonzero(graph.stream == i), joined=joined) for i in computing]
    chosen = graph.streams[computing[int(np.argmax(paces))]]
    return chosen.rank, chosen.replica


def period_s(timeline: Timeline, *, joined: bool) -> float:
    """Time from one step to the next when steps follow one another.

    With a barrier in the step (``joined``) that is the makespan. Without one every rank starts
    its next step when it is done; if all repeat what they did, the one with the longest way from
    its first pass to its end sets the period (its overhead included).
    """
    if joined:
        return timeline.makespan_s
    ops = compute_ops(timeline, *critical_rank(timeline, joined=False))
    return timeline.makespan_s - _idle_ends_s(timeline, ops)


def batch_period_s(
    graph: OpGraph, duration_s: FloatArray, end_s: FloatArray, *, joined: bool
) -> FloatArray:
    """``period_s`` of every row of a batch.

    Args:
        graph: what the rows ran.
        duration_s: [batch, ops].
        end_s: [batch, ops].
        joined: see ``period_s``.

    Returns:
        [batch] seconds.
    """
    if joined:
        return end_s.max(axis=1, initial=0.0)
    computing = [i for i, stream in enumerate(graph.streams) if stream.name == "compute"]
    paces = [
        _batch_pace_s(graph, duration_s, end_s, np.flatnonzero(graph.stream == i))
        for i in computing
    ]
    return np.max(paces, axis=0)


def _batch_pace_s(
    graph: OpGraph, duration_s: FloatArray, end_s: FloatArray, ops: IntArray
) -> FloatArray:
    """From a rank's first pass, or the gathers it waits for, to its end, and what came before."""
    first_pass = _first_pass(graph, ops)
    began_s = end_s[:, ops[first_pass - 1]] if first_pass else np.zeros(len(end_s))
    op = int(ops[first_pass])
    lead_s = end_s[:, op] - duration_s[:, op] - began_s
    waits_s = end_s[:, _own_gathers(graph, op)] - began_s[:, None]
    gathered_s = np.clip(waits_s.max(axis=1, initial=0.0), 0.0, lead_s)
    return end_s[:, ops[-1]] - lead_s + gathered_s


def _pace_s(timeline: Timeline, ops: IntArray, *, joined: bool) -> float:
    if joined:
        return float((timeline.end_s[ops] - timeline.start_s[ops]).sum())
    return timeline.makespan_s - _idle_ends_s(timeline, ops)


def _first_pass(graph: OpGraph, ops: IntArray) -> int:
    """Place of the first forward in a rank's stream."""
    return int(np.flatnonzero(graph.phase[ops] == OpPhase.F)[0])


def _idle_ends_s(timeline: Timeline, ops: IntArray) -> float:
    """What a rank waits for other ranks before its first pass, and all after its last op.

    The neighbouring steps fill these waits. A wait for the rank's own weights they do not fill.
    """
    first_pass = _first_pass(timeline.graph, ops)
    began_s = float(timeline.end_s[ops[first_pass - 1]]) if first_pass else 0.0
    op = int(ops[first_pass])
    lead_s = float(timeline.start_s[op]) - began_s
    gathers = _own_gathers(timeline.graph, op)
    gathered_s = float(np.clip(timeline.end_s[gathers] - began_s, 0.0, lead_s).max(initial=0.0))
    return lead_s - gathered_s + timeline.makespan_s - float(timeline.end_s[ops[-1]])


def _own_gathers(graph: OpGraph, op: int) -> IntArray:
    """Weight gathers that an op waits for.

    Assumes: nothing lives off the device; offload is refused in the schedules without a barrier,
    for which alone this counts.
    """
    preds = graph.preds[graph.pred_offsets[op] : graph.pred_offsets[op + 1]]
    return preds[np.isin(graph.phase[preds], [OpPhase.GATHER_WEIGHTS, OpPhase.GATHER_STEP])]


def _busy_s(
    timeline: Timeline, table: CostTable, ops: IntArray, speed: float, forward_speed: float
) -> FloatArray:
    """[terms], seconds that the kernels of some ops take on a rank of some speed."""
    in_forward = timeline.graph.phase[ops] == OpPhase.F
    longer = np.where(in_forward, 1.0 / (speed * forward_speed), 1.0 / speed)
    terms_s = table.terms_s[timeline.graph.op_class[ops]]
    scaled: FloatArray = np.where(SPEED_SCALED, longer[:, None], 1.0) * terms_s
    return scaled.sum(axis=0)


def time_terms(
    timeline: Timeline,
    table: CostTable,
    *,
    rank: int,
    replica: int = 0,
    speed: float = 1.0,
    forward_speed: float = 1.0,
    joined: bool = True,
) -> dict[str, float]:
    """Seconds of one rank by term, ``bubble`` included; they sum to the step's period.

    Ops of the compute stream give their own terms. A gap before an op belongs to the
    communication it waited for, as far as that ran inside the gap; the rest is bubble.

    Args:
        timeline: the executed graph.
        table: [classes, terms] costs of one run.
        rank: pipeline rank whose time it is.
        replica: its data-parallel replica in the graph.
        speed: relative speed of the rank.
        forward_speed: the same in forwards, on top of it.
        joined: see ``period_s``; without a barrier the wait before the first pass and after the
            last op belongs to the neighbouring steps.
    """
    ops = compute_ops(timeline, rank, replica)
    busy_s = _busy_s(timeline, table, ops, speed, forward_speed)
    terms = {"bubble": 0.0, **dict(zip(TERMS, busy_s.tolist(), strict=True))}

    previous_end = np.concatenate(([0.0], timeline.end_s[ops][:-1]))
    gaps = timeline.start_s[ops] - previous_end
    if not joined:
        # The step before ends in the wait before the first pass, but for the rank's own gathers.
        first_pass = _first_pass(timeline.graph, ops)
        gathers = _own_gathers(timeline.graph, int(ops[first_pass]))
        own_s = timeline.end_s[gathers] - previous_end[first_pass]
        terms["dp_comm"] += float(np.clip(own_s, 0.0, gaps[first_pass]).max(initial=0.0))
        gaps[first_pass] = 0.0
    for place in np.flatnonzero(gaps > 0).tolist():
        waited = _waited_for(timeline, table, int(ops[place]), float(previous_end[place]))
        for term, seconds in waited.items():
            terms[term] += seconds
    idle_ends_s = 0.0 if joined else _idle_ends_s(timeline, ops)
    # What no op and no wait accounts for is bubble: the tail after the last op, and rounding.
    accounted = sum(terms.values()) - terms["bubble"]
    left_s = timeline.makespan_s - idle_ends_s - accounted
    terms["bubble"] = left_s if left_s > ROUNDING * timeline.makespan_s else 0.0
    return terms


def _binding(timeline: Timeline, op: int, *, in_stream: bool = False) -> int:
    """The dependency that let an op start: the last to end, seen through joins; -1 for none.

    Args:
        timeline: the executed graph.
        op: what started.
        in_stream: the op before it in its own stream counts as well.
    """
    graph = timeline.graph
    while True:
        preds = graph.preds[graph.pred_offsets[op] : graph.pred_offsets[op + 1]].tolist()
        if in_stream or graph.phase[op] == OpPhase.JOIN:
            preds += [int(graph.stream_pred[op])] if graph.stream_pred[op] >= 0 else []
        if not preds:
            return -1
        op = max(preds, key=lambda pred: (timeline.end_s[pred], pred))
        if graph.phase[op] != OpPhase.JOIN:
            return op


def _waited_for(
    timeline: Timeline, table: CostTable, op: int, idle_from_s: float
) -> dict[str, float]:
    """Splits the gap before an op into exposed communication and bubble.

    Goes back from the op along what each thing waited for, as long as that is communication
    inside the gap: a reduction may have waited for the one before it.
    """
    until_s = float(timeline.start_s[op])
    waited = {"bubble": until_s - idle_from_s}
    cause = _binding(timeline, op)
    while cause >= 0 and until_s > idle_from_s:
        term = _COMM_TERM.get(OpPhase(int(timeline.graph.phase[cause])))
        end_s = min(float(timeline.end_s[cause]), until_s)
        if term is None:
            # A blocking send is the last part of the pass that it belongs to.
            sent_s = float(table.terms_s[timeline.graph.op_class[cause], _PP_COMM])
            until_s = max(end_s - sent_s, idle_from_s)
        else:
            until_s = max(float(timeline.start_s[cause]), idle_from_s)
        exposed_s = max(end_s - until_s, 0.0)
        waited[term or "pp_comm"] = waited.get(term or "pp_comm", 0.0) + exposed_s
        waited["bubble"] -= exposed_s
        cause = -1 if term is None else _binding(timeline, cause, in_stream=True)
    return waited
