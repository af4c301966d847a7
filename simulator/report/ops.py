"""The ops of a timeline that a picture shows: those that sit on a stream and take time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.engine.timeline import Timeline
from simulator.errors import TrainsimError
from simulator.numeric import BoolArray, FloatArray, IntArray
from simulator.report.report import Report
from simulator.workload.op import OpPhase

LABELS: Final[Mapping[OpPhase, str]] = {
    OpPhase.F: "forward",
    OpPhase.B: "backward",
    OpPhase.W: "backward of weights",
    OpPhase.SEND_ACTIVATION: "send activation",
    OpPhase.SEND_GRADIENT: "send gradient",
    OpPhase.GATHER_WEIGHTS: "gather weights",
    OpPhase.REDUCE_GRADIENTS: "reduce gradients",
    OpPhase.OPTIMIZER: "optimizer",
    OpPhase.GATHER_STEP: "gather updated weights",
    OpPhase.STEP_OVERHEAD: "step overhead",
    OpPhase.JOIN: "join",
    OpPhase.LOAD_NVME: "read NVMe",
    OpPhase.STORE_NVME: "write NVMe",
    OpPhase.TO_DEVICE: "copy to device",
    OpPhase.TO_HOST: "copy to host",
    OpPhase.LOAD_STATES: "read optimizer states",
    OpPhase.STORE_STATES: "write optimizer states",
    OpPhase.HOST_OPTIMIZER: "optimizer on host",
}
"""What an op does, in words."""

COMMUNICATION: Final = frozenset(
    {
        OpPhase.SEND_ACTIVATION,
        OpPhase.SEND_GRADIENT,
        OpPhase.GATHER_WEIGHTS,
        OpPhase.REDUCE_GRADIENTS,
        OpPhase.GATHER_STEP,
    }
)
"""Ops that move data between ranks."""


@dataclass(frozen=True, slots=True)
class DrawnOps:
    """Columns of the ops that are drawn, by start time. [drawn] each.

    Attributes:
        index: op of the graph.
        process: pipeline rank, counted on over data-parallel replicas: replica * ranks + rank.
        stream: index into the graph's streams.
        phase: ``OpPhase``.
        stage, microbatch: labels, -1 where there is none.
        start_s, end_s: when it ran.
    """

    index: IntArray
    process: IntArray
    stream: IntArray
    phase: IntArray
    stage: IntArray
    microbatch: IntArray
    start_s: FloatArray
    end_s: FloatArray

    def where(self, mask: BoolArray) -> DrawnOps:
        """The ops for which ``mask`` holds."""
        return DrawnOps(
            index=self.index[mask],
            process=self.process[mask],
            stream=self.stream[mask],
            phase=self.phase[mask],
            stage=self.stage[mask],
            microbatch=self.microbatch[mask],
            start_s=self.start_s[mask],
            end_s=self.end_s[mask],
        )


def stream_processes(timeline: Timeline) -> IntArray:
    """Process number of every stream: replica * pipeline ranks + pipeline rank. [streams]."""
    streams = timeline.graph.streams
    num_ranks = 1 + max((stream.rank for stream in streams), default=0)
    return np.array([s.replica * num_ranks + s.rank for s in streams], dtype=np.int64)


def drawn_ops(timeline: Timeline) -> DrawnOps:
    """Ops on a stream that take time, in order of start (ties in graph order)."""
    graph = timeline.graph
    index = np.flatnonzero((graph.stream >= 0) & (timeline.end_s > timeline.start_s))
    index = index[np.argsort(timeline.start_s[index], kind="stable")]
    stream = graph.stream[index]
    return DrawnOps(
        index=index,
        process=stream_processes(timeline)[stream],
        stream=stream,
        phase=graph.phase[index],
        stage=graph.stage[index],
        microbatch=graph.microbatch[index],
        start_s=timeline.start_s[index],
        end_s=timeline.end_s[index],
    )


def process_name(timeline: Timeline, process: int) -> str:
    """``pipeline rank 2``, with the replica where the timeline holds several."""
    streams = timeline.graph.streams
    num_ranks = 1 + max(stream.rank for stream in streams)
    replica, rank = divmod(process, num_ranks)
    has_replicas = any(stream.replica for stream in streams)
    return f"pipeline rank {rank}" + (f", replica {replica}" if has_replicas else "")


def timeline_of(report: Report) -> Timeline:
    """The report's timeline.

    Raises:
        TrainsimError: if the report was read from JSON and therefore has none.
    """
    if report.timeline is None:
        raise TrainsimError(
            "the report holds no timeline, so there is nothing to trace",
            hint="a report read from JSON has none; run the scenario again",
        )
    return report.timeline
