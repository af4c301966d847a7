"""The simulator of record: discrete events on simpy, one process per stream.

A stream runs its ops in order: each waits for its dependencies, then takes its duration, longer
where it shares a resource. Without sharing the times equal those of ``maxplus`` to the last bit.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias

import numpy as np
from simpy import Environment, Event

from simulator.engine.flow import FlowNetwork
from simulator.engine.resource import FairShare
from simulator.engine.timeline import Timeline
from simulator.numeric import FloatArray, IntArray
from simulator.workload.op import OpGraph

_Process: TypeAlias = Generator[Event, object, None]


def simulate(graph: OpGraph, duration_s: FloatArray) -> Timeline:
    """Run the graph once.

    Args:
        graph: what to run. ``coupled`` has no meaning for a single run.
        duration_s: [ops], what every op takes when it has its resource for itself.
    """
    run = _Run(graph, duration_s)
    run.env.run()
    unfinished = run.finished.count(0)
    assert not unfinished, f"{unfinished} ops never ran: the graph is not in level order"
    return Timeline(graph, np.array(run.start_s), np.array(run.end_s), engine="des")


class _Run:
    """The state of one simulation."""

    def __init__(self, graph: OpGraph, duration_s: FloatArray) -> None:
        self.env = Environment()
        self.start_s = [0.0] * graph.num_ops
        self.end_s = [0.0] * graph.num_ops
        self.finished = bytearray(graph.num_ops)
        self.waiters: dict[int, Event] = {}
        """Events of ops that somebody waits for; most ops end unwaited for and need none."""

        self.preds: list[int] = graph.preds.tolist()
        self.pred_offsets: list[int] = graph.pred_offsets.tolist()
        self.duration_s: list[float] = duration_s.tolist()
        # An op slows down only on a resource that several streams use; elsewhere it is alone.
        is_shared = np.append(graph.shared_resources, False)[graph.resource]
        self.resource: list[int] = np.where(is_shared, graph.resource, -1).tolist()
        self.resources = [FairShare(self.env) for _ in graph.resources]
        self.flow: list[int] = graph.flow.tolist() or [-1] * graph.num_ops
        self.network = FlowNetwork(self.env, graph.flows, graph.flow_class)

        for ops in _ops_of_streams(graph):
            self.env.process(self._run_stream(ops))
        for op in np.flatnonzero(graph.stream < 0).tolist():
            self.env.process(self._run_stream([op]))

    def _run_stream(self, ops: list[int]) -> _Process:
        """Run ops one after the other."""
        finished = self.finished
        for op in ops:
            for pred in self.preds[self.pred_offsets[op] : self.pred_offsets[op + 1]]:
                if not finished[pred]:
                    yield self._finish_of(pred)
            self.start_s[op] = self.env.now
            duration = self.duration_s[op]
            if self.resource[op] >= 0:
                yield self.resources[self.resource[op]].serve(duration)
            elif self.flow[op] >= 0:
                yield self.network.serve(self.flow[op], duration)
            elif duration:
                yield self.env.timeout(duration)
            self.end_s[op] = self.env.now
            finished[op] = 1
            if op in self.waiters:
                self.waiters.pop(op).succeed()

    def _finish_of(self, op: int) -> Event:
        """The event that an op has finished, one for all who wait for it."""
        event = self.waiters.get(op)
        if event is None:
            event = self.waiters[op] = self.env.event()
        return event


def _ops_of_streams(graph: OpGraph) -> list[list[int]]:
    """The ops of every stream in their order, ops without a stream left out."""
    by_stream = np.argsort(graph.stream, kind="stable")
    bounds: IntArray = np.searchsorted(graph.stream[by_stream], np.arange(len(graph.streams) + 1))
    return [ops.tolist() for ops in np.split(by_stream, bounds)[1:-1]]
