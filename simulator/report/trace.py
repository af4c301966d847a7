"""A timeline as a Chrome trace in the dialect of the PyTorch profiler (Kineto).

Perfetto and chrome://tracing open it; Holistic Trace Analysis reads it, one file per rank.

    pid  pipeline rank (replica * ranks + rank where several replicas ran)
    tid  1 host launches, 7 compute, 20 and up: one per communicator
    X    a kernel, and the zero-length launch it correlates with; s/f arrows: sends between ranks
    C    memory of a rank class over the step

Every event is one line, so that a trace can be cut and searched with line tools. The spaces after
``:`` are needed: Holistic Trace Analysis finds the rank by a pattern that demands one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Final, TypeAlias

import numpy as np

from simulator.engine.timeline import Timeline
from simulator.report.breakdown import scenario_name
from simulator.report.ops import (
    COMMUNICATION,
    LABELS,
    DrawnOps,
    drawn_ops,
    process_name,
    stream_processes,
    timeline_of,
)
from simulator.report.report import Report
from simulator.workload.op import OpPhase

MAX_EVENTS: Final = 100_000
"""Kernels per file unless told otherwise: a browser holds some hundred thousand events."""

# The compute stream has been 7 in every PyTorch trace since 2020; the others only must not clash.
_HOST_TID: Final = 1
_COMPUTE_TID: Final = 7
_FIRST_COMMUNICATOR_TID: Final = 20
_NS_PER_S: Final = 1e9
_NS_PER_US: Final = 1000

Event: TypeAlias = dict[str, object]


def to_trace(
    report: Report, ranks: Collection[int] | None = None, *, max_events: int = MAX_EVENTS
) -> Iterator[str]:
    """The trace as chunks of text; joined they are one JSON document.

    Args:
        report: with a timeline.
        ranks: processes to show; None for all.
        max_events: kernels to show; where there are more, the first ones are kept and the trace
            says so.

    Raises:
        TrainsimError: if the report has no timeline.
    """
    timeline = timeline_of(report)
    processes = {int(process) for process in stream_processes(timeline)}
    shown = processes if ranks is None else processes & set(ranks)
    return _document(report, timeline, sorted(shown), max_events)


def to_rank_traces(report: Report, *, max_events: int = MAX_EVENTS) -> dict[int, str]:
    """One trace per rank, as Holistic Trace Analysis wants them. ``max_events`` holds for each.

    Raises:
        TrainsimError: if the report has no timeline.
    """
    timeline = timeline_of(report)
    processes = sorted({int(process) for process in stream_processes(timeline)})
    return {p: "".join(_document(report, timeline, [p], max_events)) for p in processes}


def _document(
    report: Report, timeline: Timeline, processes: list[int], max_events: int
) -> Iterator[str]:
    ops = drawn_ops(timeline)
    ops = ops.where(np.isin(ops.process, processes))
    num_ops = ops.index.size
    note = f"all {num_ops} kernels are shown"
    if num_ops > max_events:
        ops = ops.where(np.arange(num_ops) < max_events)
        note = f"only the first {max_events} of {num_ops} kernels are shown"
    header = {
        "schemaVersion": 1,
        "traceName": scenario_name(report),
        "displayTimeUnit": "ms",
        "note": note,
        "distributedInfo": {
            "backend": "nccl",
            "rank": processes[0] if processes else 0,
            "world_size": len(set(stream_processes(timeline).tolist())),
        },
    }
    yield json.dumps(header)[:-1] + ', "traceEvents": [\n'
    separator = ""
    for event in _events(report, timeline, processes, ops, note):
        yield separator + json.dumps(event)
        separator = ",\n"
    yield "\n]}\n"


def _events(
    report: Report, timeline: Timeline, processes: list[int], ops: DrawnOps, note: str
) -> Iterator[Event]:
    tids = _stream_tids(timeline)
    yield from _names(timeline, processes, tids, note)
    yield from _kernels(timeline, ops, tids)
    yield from _arrows(timeline, ops, tids)
    yield from _memory(report, timeline, processes)


def _stream_tids(timeline: Timeline) -> list[int]:
    """Thread number of every stream: the same name has the same number on every rank."""
    names = sorted({s.name for s in timeline.graph.streams} - {"compute"})
    tids = {name: _FIRST_COMMUNICATOR_TID + i for i, name in enumerate(names)}
    return [(tids | {"compute": _COMPUTE_TID})[s.name] for s in timeline.graph.streams]


def _names(timeline: Timeline, processes: list[int], tids: list[int], note: str) -> Iterator[Event]:
    def meta(kind: str, pid: int, tid: int, **args: object) -> Event:
        return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "ts": 0, "args": args}

    for pid in processes:
        yield meta("process_name", pid, 0, name=process_name(timeline, pid))
        yield meta("process_labels", pid, 0, labels=note)
        yield meta("process_sort_index", pid, 0, sort_index=pid)
        yield meta("thread_name", pid, _HOST_TID, name="host launches")
        yield meta("thread_sort_index", pid, _HOST_TID, sort_index=_HOST_TID)
    owners = stream_processes(timeline).tolist()
    for stream, pid, tid in zip(timeline.graph.streams, owners, tids, strict=True):
        if pid in processes:
            yield meta("thread_name", pid, tid, name=f"stream {tid} {stream.name}")
            yield meta("thread_sort_index", pid, tid, sort_index=tid)


def _kernels(timeline: Timeline, ops: DrawnOps, tids: list[int]) -> Iterator[Event]:
    """Every kernel with its launch.

    Assumes: the host runs ahead, so a launch costs nothing and stands where its kernel starts.
    """
    graph = timeline.graph
    for row in range(ops.index.size):
        op, pid, tid = int(ops.index[row]), int(ops.process[row]), tids[int(ops.stream[row])]
        start_ns, end_ns = _ns(ops.start_s[row]), _ns(ops.end_s[row])
        # 0 means "no correlation" to readers of Kineto traces.
        correlation = op + 1
        yield {
            "ph": "X",
            "cat": "cuda_runtime",
            "name": "cudaLaunchKernel",
            "pid": pid,
            "tid": _HOST_TID,
            "ts": start_ns / _NS_PER_US,
            "dur": 0,
            "args": {"correlation": correlation},
        }
        yield {
            "ph": "X",
            "cat": "kernel",
            "name": _kernel_name(int(ops.phase[row]), int(ops.microbatch[row])),
            "pid": pid,
            "tid": tid,
            "ts": start_ns / _NS_PER_US,
            "dur": (end_ns - start_ns) / _NS_PER_US,
            "args": {
                "stream": tid,
                "correlation": correlation,
                "device": pid,
                "stage": int(ops.stage[row]),
                "microbatch": int(ops.microbatch[row]),
                "op class": graph.class_names[int(graph.op_class[op])],
            },
        }


def _kernel_name(phase: int, microbatch: int) -> str:
    """Communication reads ``nccl...Kernel``, by which trace readers tell it from compute."""
    kind = OpPhase(phase)
    label = f"ncclDevKernel {LABELS[kind]}" if kind in COMMUNICATION else LABELS[kind]
    return label if microbatch < 0 else f"{label} {microbatch}"


def _arrows(timeline: Timeline, ops: DrawnOps, tids: list[int]) -> Iterator[Event]:
    """Arrows for data that goes from one rank to another: from an op's end to its consumer."""
    graph, shown = timeline.graph, set(ops.index.tolist())
    owners = stream_processes(timeline)
    consumer = np.repeat(np.arange(graph.num_ops), np.diff(graph.pred_offsets))
    producer = graph.preds
    on_streams = (graph.stream[producer] >= 0) & (graph.stream[consumer] >= 0)
    crosses = owners[graph.stream[producer]] != owners[graph.stream[consumer]]
    for edge in np.flatnonzero(on_streams & crosses):
        source, target = int(producer[edge]), int(consumer[edge])
        if source not in shown or target not in shown:
            continue
        # An arrow belongs to the slice around its time, so it leaves just before the slice ends.
        left_ns = max(_ns(timeline.end_s[source]) - 1, _ns(timeline.start_s[source]))
        ends: tuple[tuple[str, int, int, Event], ...] = (
            ("s", source, left_ns, {}),
            ("f", target, _ns(timeline.start_s[target]), {"bp": "e"}),
        )
        for kind, op, time_ns, extra in ends:
            stream = int(graph.stream[op])
            yield {
                "ph": kind,
                "cat": "p2p",
                "name": "p2p",
                "id": int(edge),
                "pid": int(owners[stream]),
                "tid": tids[stream],
                "ts": time_ns / _NS_PER_US,
                **extra,
            }


def _memory(report: Report, timeline: Timeline, processes: list[int]) -> Iterator[Event]:
    """Counters of memory: beside its pipeline rank where classes and ranks are the same."""
    classes = report.memory.rank_classes
    num_ranks = len({stream.rank for stream in timeline.graph.streams})
    is_per_rank = len(classes) == num_ranks
    for index, rank in enumerate(classes):
        pid = index if is_per_rank else processes[0] if processes else 0
        if pid not in processes:
            continue
        for time_s, held_bytes in zip(rank.history_s, rank.history_bytes, strict=True):
            yield {
                "ph": "C",
                "name": f"memory of {rank.rank_class} (bytes)",
                "pid": pid,
                "tid": 0,
                "ts": _ns(time_s) / _NS_PER_US,
                "args": {"held": held_bytes},
            }


def _ns(time_s: float) -> int:
    """Whole nanoseconds, so that the slices of a stream touch without overlapping."""
    return round(float(time_s) * _NS_PER_S)
