"""An executed graph: when every op ran."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.numeric import FloatArray, IntArray
from simulator.workload.op import OpGraph


@dataclass(frozen=True, slots=True)
class Timeline:
    """Start and end of every op of ``graph``. [ops] each, seconds from the start of the step."""

    graph: OpGraph
    start_s: FloatArray
    end_s: FloatArray
    engine: str

    @property
    def makespan_s(self) -> float:
        """When the last op ends."""
        return float(self.end_s.max(initial=0.0))


def busy_s(timeline: Timeline, stream: int) -> float:
    """Seconds during which a stream runs an op, at whatever share of its resource."""
    ops = timeline.graph.stream == stream
    return float((timeline.end_s[ops] - timeline.start_s[ops]).sum())


def critical_path(timeline: Timeline) -> IntArray:
    """Ops, first to last, that the makespan consists of: each starts when the one before ends.

    Ends with the op that ends last. Of dependencies that end together, the one of the stream
    comes first, then the smallest index.
    """
    graph = timeline.graph
    if not graph.num_ops:
        return np.empty(0, dtype=np.int64)
    path = [int(timeline.end_s.argmax())]
    while True:
        op = path[-1]
        first, end = graph.pred_offsets[op : op + 2]
        waited_for = np.append(graph.stream_pred[op], graph.preds[first:end])
        waited_for = waited_for[waited_for >= 0]
        if not waited_for.size:
            return np.array(path[::-1], dtype=np.int64)
        path.append(int(waited_for[timeline.end_s[waited_for].argmax()]))
