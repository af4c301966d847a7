"""A graph under construction: lowering passes add ops and edges, ``build`` makes the graph.

For example::

    draft = GraphDraft()
    compute = draft.add_stream(Stream("compute", rank=0))
    forward = draft.add_ops(0, compute, phase=OpPhase.F, microbatch=np.arange(4))
    backward = draft.add_ops(1, compute, phase=OpPhase.B, microbatch=np.arange(4))
    draft.add_edges(forward, backward)
    graph = draft.build(["forward", "backward"])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike

from simulator.errors import ScheduleError
from simulator.numeric import BoolArray, FloatArray, IntArray, Integral, Numeric
from simulator.workload.levels import CycleError, op_levels
from simulator.workload.op import Flow, OpGraph, Stream, describe_op


class OpColumns(TypedDict, total=False):
    """What may be said of new ops: one value for all of them, or one for each.

    Attributes:
        order: position within the stream; by default (None) the order of adding, as also
            among ops at equal positions. Give it to all ops of a stream or to none.
        phase, stage, microbatch: labels, -1 by default.
        resource: index from ``add_resource``, -1 (none) by default.
        flow: index from ``add_flow``, -1 (none) by default.
        coupled: False by default.
    """

    order: Numeric | None
    phase: Integral
    stage: Integral
    microbatch: Integral
    resource: Integral
    flow: Integral
    coupled: bool | BoolArray


class Ops(NamedTuple):
    """A block of ops, all columns [ops]."""

    op_class: IntArray
    stream: IntArray
    order: FloatArray
    phase: IntArray
    stage: IntArray
    microbatch: IntArray
    resource: IntArray
    flow: IntArray
    coupled: BoolArray


class GraphDraft:
    """A mutable op graph; ops and edges come in any order."""

    def __init__(self) -> None:
        self._streams: dict[Stream, int] = {}
        self._resources: dict[str, int] = {}
        self._flows: dict[tuple[Flow, int], int] = {}
        self._blocks: list[Ops] = []
        self._preds: list[IntArray] = []
        self._ops: list[IntArray] = []
        self._num_ops = 0

    @property
    def num_ops(self) -> int:
        """Ops added so far."""
        return self._num_ops

    def add_stream(self, stream: Stream) -> int:
        """The index of a stream, new or known."""
        return self._streams.setdefault(stream, len(self._streams))

    def add_resource(self, name: str) -> int:
        """The index of a resource, new or known."""
        return self._resources.setdefault(name, len(self._resources))

    def add_flow(self, flow: Flow, flow_class: int = 0) -> int:
        """The index of a flow over resources from ``add_resource``, new or known.

        Args:
            flow: what it loads.
            flow_class: see ``OpGraph.flow_class``.
        """
        return self._flows.setdefault((flow, flow_class), len(self._flows))

    def add_ops(
        self, op_class: Integral, stream: Integral, **columns: Unpack[OpColumns]
    ) -> IntArray:
        """Add ops; all arguments broadcast to one row per op.

        Args:
            op_class: row of the cost table.
            stream: index from ``add_stream``, or -1 for ops that need no stream (joins).
            **columns: see ``OpColumns``.

        Returns:
            [ops] ids for ``add_edges``.
        """
        order = columns.get("order")
        labels = (
            columns.get("phase", -1),
            columns.get("stage", -1),
            columns.get("microbatch", -1),
            columns.get("resource", -1),
            columns.get("flow", -1),
        )
        coupled = columns.get("coupled", False)
        positions = 0.0 if order is None else order
        size = np.broadcast(op_class, stream, positions, *labels, coupled).size
        ids = np.arange(self._num_ops, self._num_ops + size, dtype=np.int64)
        self._num_ops += size
        self._blocks.append(
            Ops(
                _int_column(op_class, size),
                _int_column(stream, size),
                np.full(size, ids if order is None else order, dtype=np.float64),
                *(_int_column(label, size) for label in labels),
                coupled=np.full(size, coupled, dtype=np.bool_),
            )
        )
        return ids

    def add_edges(self, preds: Integral, ops: Integral) -> None:
        """Let every op of ``ops`` wait for the one of ``preds`` beside it.

        They broadcast: ``add_edges(a[:, np.newaxis], b)`` lets each of b wait for all of a.

        Raises:
            IndexError: if one of them is not the id of an op added before.
        """
        pairs = np.broadcast_arrays(preds, ops)
        edges = np.stack([_int_column(end.ravel(), end.size) for end in pairs])
        if edges.size and not 0 <= edges.min() <= edges.max() < self._num_ops:
            raise IndexError(f"edge ends must be ids from 0 to {self._num_ops - 1}")
        self._preds.append(edges[0])
        self._ops.append(edges[1])

    def ops(self) -> Ops:
        """All ops added so far."""
        return _concatenate(self._blocks)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Streams by index."""
        return tuple(self._streams)

    def end_with(self, ops: IntArray, op_class: IntArray, ends: IntArray) -> None:
        """Makes ops the first part of what ends with others.

        Args:
            ops: that become first parts.
            op_class: [ops] their new rows of the cost table.
            ends: [ops], what then waits for them waits for these instead.
        """
        columns = self.ops()
        rows, moved = columns.op_class.copy(), np.arange(self._num_ops)
        rows[ops], moved[ops] = op_class, ends
        self._blocks = [columns._replace(op_class=rows)]
        self._preds = [moved[preds] for preds in self._preds]

    def add_copies(self, one: GraphDraft, op_class: IntArray, flow: IntArray) -> IntArray:
        """Add copies of another draft, each on streams of a replica of its own, without resources.

        Args:
            one: what is copied; its streams are of replica 0.
            op_class: [copies, ops] rows of the cost table.
            flow: [copies, ops], index from ``add_flow`` or -1.

        Returns:
            [copies, ops] ids.
        """
        ops, copies = one.ops(), len(op_class)
        added = copies * one.num_ops
        ids: IntArray = self._num_ops + np.arange(added).reshape(copies, -1)
        of_copy = np.array(
            [
                [self.add_stream(replace(stream, replica=copy)) for stream in one.streams] + [-1]
                for copy in range(copies)
            ]
        )
        self._blocks.append(
            _concatenate([ops] * copies)._replace(
                op_class=op_class.ravel(),
                stream=of_copy[:, ops.stream].ravel(),
                resource=np.full(added, -1),
                flow=flow.ravel(),
            )
        )
        self._num_ops += added
        for preds, waiting in zip(one._preds, one._ops, strict=True):
            self.add_edges(ids[:, preds], ids[:, waiting])
        return ids

    def build(self, class_names: Sequence[str]) -> OpGraph:
        """The finished graph: streams in order, edges distinct, ops sorted by level.

        Args:
            class_names: what the values of ``op_class`` mean.

        Raises:
            ScheduleError: if ops wait for each other in a cycle, stream order included.
        """
        columns, streams = self.ops(), self.streams
        stream_pred = _stream_preds(columns.stream, columns.order)
        ops, preds = _distinct_edges(self._ops, self._preds, stream_pred)
        try:
            level = op_levels(ops, preds, stream_pred)
        except CycleError as error:
            raise _deadlock(error.cycle, columns, streams) from error

        num_preds = np.bincount(ops, minlength=self._num_ops)
        new_order = np.lexsort((columns.stream, -num_preds - (stream_pred >= 0), level))
        # The extra last row maps -1 (no predecessor) to itself.
        index_of = np.empty(self._num_ops + 1, dtype=np.int64)
        index_of[new_order] = np.arange(self._num_ops)
        index_of[-1] = -1

        pred_offsets = _offsets(num_preds[new_order])
        return OpGraph(
            op_class=columns.op_class[new_order],
            stream=columns.stream[new_order],
            resource=columns.resource[new_order],
            coupled=columns.coupled[new_order],
            phase=columns.phase[new_order],
            stage=columns.stage[new_order],
            microbatch=columns.microbatch[new_order],
            pred_offsets=pred_offsets,
            preds=_move_rows(index_of[preds], _offsets(num_preds), new_order, pred_offsets),
            stream_pred=index_of[stream_pred[new_order]],
            level_offsets=_offsets(np.bincount(level)),
            streams=streams,
            resources=tuple(self._resources),
            class_names=tuple(class_names),
            flow=columns.flow[new_order] if self._flows else columns.flow[:0],
            flows=tuple(flow for flow, _ in self._flows),
            flow_class=tuple(number for _, number in self._flows),
        )


def _int_column(values: ArrayLike, size: int) -> IntArray:
    return np.full(size, values, dtype=np.int64)


def _concatenate(blocks: Sequence[Ops]) -> Ops:
    none = np.empty(0, dtype=np.int64)
    place, flag = none.astype(np.float64), none.astype(np.bool_)
    empty = Ops(none, none, place, none, none, none, none, none, flag)
    return Ops._make(np.concatenate(column) for column in zip(empty, *blocks, strict=True))


def _offsets(counts: IntArray) -> IntArray:
    """[n + 1] where the groups of these sizes start."""
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))


def _stream_preds(stream: IntArray, order: FloatArray) -> IntArray:
    """[ops] previous op of the same stream, -1 for the first and for ops without a stream."""
    in_order = np.lexsort((order, stream))
    previous, current = in_order[:-1], in_order[1:]
    together = (stream[previous] == stream[current]) & (stream[current] >= 0)
    stream_pred = np.full(stream.size, -1, dtype=np.int64)
    stream_pred[current[together]] = previous[together]
    return stream_pred


def _distinct_edges(
    ops: Sequence[IntArray], preds: Sequence[IntArray], stream_pred: IntArray
) -> tuple[IntArray, IntArray]:
    """The edges sorted by op, each once, without those that the stream order implies."""
    none = np.empty(0, dtype=np.int64)
    num_ops = max(stream_pred.size, 1)
    keys = np.concatenate([none, *ops]) * num_ops + np.concatenate([none, *preds])
    keys.sort()
    keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))[: keys.size]]
    op, pred = np.divmod(keys, num_ops)
    added = stream_pred[op] != pred
    return op[added], pred[added]


def _move_rows(
    values: IntArray, offsets: IntArray, new_order: IntArray, new_offsets: IntArray
) -> IntArray:
    """Values of CSR rows after the rows have been reordered."""
    shift = offsets[:-1][new_order] - new_offsets[:-1]
    return values[np.repeat(shift, np.diff(new_offsets)) + np.arange(values.size)]


def _deadlock(cycle: Sequence[int], columns: Ops, streams: Sequence[Stream]) -> ScheduleError:
    """The error that names the ops of a cycle, at most eight of them."""
    names = [
        describe_op(
            int(columns.phase[op]),
            int(columns.stage[op]),
            int(columns.microbatch[op]),
            streams[int(columns.stream[op])] if columns.stream[op] >= 0 else None,
        )
        for op in cycle[:8]
    ]
    more = f"\n  ... and {len(cycle) - 8} more" if len(cycle) > 8 else ""
    listing = "".join(f"\n  {name}" for name in names)
    return ScheduleError(
        f"deadlock: {len(cycle)} ops wait for each other in a cycle, "
        f"each for the next:{listing}{more}",
        hint="change the order of the actions on one of these ranks",
    )
