"""Several steps of a worker and its exchanges as one op graph, which the engines run.

Compute of a worker is one stream, the link among workers another: exchanges pass it one after the
other. Between two steps a worker first takes in what is due and was sent steps ago, then sends what
leaves now, then takes in what may not overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from simulator.engine.maxplus import solve_batch
from simulator.exchange.program import InnerStep, Program, Transfer
from simulator.numeric import FloatArray, IntArray
from simulator.workload.draft import GraphDraft
from simulator.workload.op import OpGraph, OpPhase, Stream

_EXCHANGE: Final = "exchange"
_BEHIND: Final = "behind"


@dataclass(frozen=True, slots=True)
class Unrolled:
    """A graph of several steps.

    Attributes:
        graph: op classes index ``class_s``.
        class_s: [classes], seconds; the first is that of the op which keeps the link busy at the
            start.
        on_link: [classes], whether a class is an exchange on the wire.
        last_op: [steps], the op with which every step ends.
        link_op: [exchanges], what passes the link, in order.
    """

    graph: OpGraph
    class_s: FloatArray
    on_link: FloatArray
    last_op: IntArray
    link_op: IntArray

    def step_times_s(self, link_scale: Sequence[float] | FloatArray = (1.0,)) -> FloatArray:
        """``run``, of which only the steps are wanted, from a link at rest."""
        scale = np.asarray(link_scale, dtype=np.float64)
        return self.run(scale, np.zeros_like(scale))[0]

    def run(self, link_scale: FloatArray, behind_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Seconds of every step, and how far the link is behind compute.

        Args:
            link_scale: [batch], factors on the time of all exchanges.
            behind_s: [batch], what the link still has to do when the first step begins.

        Returns:
            [batch, steps], from the end of the step before, and [batch, exchanges], from the end of
            the step in which an exchange leaves to its arrival.
        """
        seconds = self.class_s * np.where(self.on_link, link_scale[:, None], 1.0)
        seconds[:, 0] = behind_s
        end_s = solve_batch(self.graph, seconds[:, self.graph.op_class])
        # An op graph is sorted; ends of steps are read at their labels.
        ends = end_s[:, self.last_op]
        lag_s = end_s[:, self.link_op] - ends[:, self.graph.microbatch[self.link_op]]
        return np.diff(ends, axis=1, prepend=0.0), lag_s


def unroll(inner: InnerStep, program: Program, num_steps: int) -> Unrolled:
    """The graph of ``num_steps`` steps, from a start at which nothing is under way."""
    return _Unroller(inner, program).run(num_steps)


@dataclass(slots=True)
class _Waiting:
    """A transfer that has left: what of it is where.

    Attributes:
        transfer: what was sent.
        ops: layer -> op that brings its part; -1 for all layers.
        due: step before whose compute it is waited for.
    """

    transfer: Transfer
    ops: dict[int, int]
    due: int


@dataclass(slots=True)
class _Unroller:
    inner: InnerStep
    program: Program
    draft: GraphDraft = field(default_factory=GraphDraft)
    classes: dict[tuple[str, float], int] = field(default_factory=dict[tuple[str, float], int])
    waiting: list[_Waiting] = field(default_factory=list[_Waiting])
    compute: int = 0
    link: int = 0

    def run(self, num_steps: int) -> Unrolled:
        self.compute = self.draft.add_stream(Stream("compute", 0))
        self.link = self.draft.add_stream(Stream("exchange", 0))
        self._op(_BEHIND, 0.0, 0, OpPhase.REDUCE_GRADIENTS)
        for step in range(num_steps):
            leaving = [t for t in self.program.transfers if t.step == step % self.program.period]
            if self.program.by_layer:
                self._step_by_layer(step, leaving)
            else:
                self._op("compute", self.inner.seconds, step, OpPhase.F)
                self._boundary(step, leaving)
            self._op("end", 0.0, step, OpPhase.JOIN)
        graph = self.draft.build([name for name, _ in self.classes])
        ends = np.flatnonzero(graph.phase == OpPhase.JOIN)
        on_link = np.array([name == _EXCHANGE for name, _ in self.classes])
        return Unrolled(
            graph=graph,
            class_s=np.array([seconds for _, seconds in self.classes]),
            on_link=on_link,
            last_op=ends[np.argsort(graph.microbatch[ends])],
            link_op=np.flatnonzero(on_link[graph.op_class]),
        )

    def _op(self, name: str, seconds: float, step: int, phase: OpPhase) -> int:
        """Adds the next op of a stream; the label ``microbatch`` holds the step."""
        row = self.classes.setdefault((name, seconds), len(self.classes))
        stream = self.link if name in (_EXCHANGE, _BEHIND) else self.compute
        return int(self.draft.add_ops(row, stream, phase=int(phase), microbatch=step)[0])

    def _send(self, transfer: Transfer, step: int, after: dict[int, int]) -> None:
        """Puts a transfer on the link: in parts, each after an op, where ``after`` has layers."""
        ops: dict[int, int] = {}
        for layer, ready in after.items():
            ops[layer] = self._op(
                _EXCHANGE, transfer.link_s / len(after), step, OpPhase.REDUCE_GRADIENTS
            )
            self.draft.add_edges(ready, ops[layer])
        self.waiting.append(_Waiting(transfer, ops, step + 1 + transfer.overlap_steps))

    def _boundary(self, step: int, leaving: Sequence[Transfer]) -> None:
        """Between a step and the next: takes in, sends, takes in what may not overlap."""
        self._take_in(step)
        for transfer in leaving:
            packed = self._op("pack", transfer.before_s, step, OpPhase.OPTIMIZER)
            self._send(transfer, step, {-1: packed})
        self._take_in(step)

    def _take_in(self, step: int) -> None:
        due = [one for one in self.waiting if one.due == step + 1]
        self.waiting = [one for one in self.waiting if one.due != step + 1]
        for one in due:
            op = self._op("unpack", one.transfer.after_s, step, OpPhase.OPTIMIZER)
            self.draft.add_edges(np.array(list(one.ops.values())), op)

    def _step_by_layer(self, step: int, leaving: Sequence[Transfer]) -> None:
        """Forward, waiting for layers that are due; backward, from which layers leave."""
        due = [one for one in self.waiting if one.due == step]
        self.waiting = [one for one in self.waiting if one.due != step]
        first: dict[int, list[_Waiting]] = {}
        for one in due:
            for layer in one.ops:
                first.setdefault(layer, []).append(one)
        self._layers("forward", self.inner.forward_s, step, sorted(first), first)
        self._op("middle", self.inner.middle_s, step, OpPhase.F)
        for transfer in leaving:
            self._op("pack", transfer.before_s, step, OpPhase.OPTIMIZER)
        last = sorted({layer for one in leaving for layer in one.layers}, reverse=True)
        done = self._backward(step, last)
        for transfer in leaving:
            layers = sorted(transfer.layers, reverse=True)
            self._send(transfer, step, {layer: done[layer] for layer in layers})
        self._op("tail", self.inner.tail_s, step, OpPhase.OPTIMIZER)

    def _layers(
        self,
        name: str,
        seconds: float,
        step: int,
        stops: Sequence[int],
        waits: dict[int, list[_Waiting]],
    ) -> None:
        """The forward, cut before every layer that waits."""
        each, begun = seconds / self.inner.num_layers, 0
        for layer in stops:
            self._op(name, each * (layer - begun), step, OpPhase.F)
            for one in waits[layer]:
                after_s = one.transfer.after_s / len(one.ops)
                op = self._op("unpack", after_s, step, OpPhase.OPTIMIZER)
                self.draft.add_edges(one.ops[layer], op)
            begun = layer
        self._op(name, each * (self.inner.num_layers - begun), step, OpPhase.F)

    def _backward(self, step: int, stops: Sequence[int]) -> dict[int, int]:
        """The backward, cut after every layer that leaves; layer -> op that ends it."""
        each, left = self.inner.backward_s / self.inner.num_layers, self.inner.num_layers
        done: dict[int, int] = {}
        for layer in stops:
            done[layer] = self._op("backward", each * (left - layer), step, OpPhase.B)
            left = layer
        self._op("backward", each * left, step, OpPhase.B)
        return done
