"""The op graph: every op of a step as a row of columns, on streams, with its dependencies.

The graph holds structure only. Durations come from a cost table indexed by ``op_class``, so that
one graph serves one run, a batch of plans, or a batch of replicas.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

import numpy as np

from simulator.numeric import BoolArray, IntArray


class OpPhase(IntEnum):
    """What an op does, for timelines and breakdowns. F, B, W equal ``schedule.action.Phase``."""

    F = 0
    B = 1
    W = 2
    SEND_ACTIVATION = 3
    SEND_GRADIENT = 4
    GATHER_WEIGHTS = 5
    REDUCE_GRADIENTS = 6
    OPTIMIZER = 7
    GATHER_STEP = 8
    STEP_OVERHEAD = 9
    JOIN = 10
    """Takes no time: ties ops together that must start at once."""
    LOAD_NVME = 11
    """Weights, gradients or activations from NVMe to host memory."""
    STORE_NVME = 12
    TO_DEVICE = 13
    """A copy from host memory to the device."""
    TO_HOST = 14
    LOAD_STATES = 15
    """Optimizer states from NVMe to host memory."""
    STORE_STATES = 16
    HOST_OPTIMIZER = 17


Flow: TypeAlias = tuple[tuple[int, float], ...]
"""Resources that an op loads, and the share of each that it takes at its full speed.

Above 1 it is slowed even alone: several messages of one collective may pass the same link.
"""


@dataclass(frozen=True, slots=True)
class Stream:
    """An in-order queue of ops: ``compute`` or a communicator of one pipeline rank.

    Attributes:
        name: ``compute``, ``dp``, ``pp-forward`` or ``pp-backward`` (sends beside compute); with
            offload also ``h2d``, ``d2h``, ``nvme-read`` and ``nvme-write``, and for the optimizer
            on the host ``optimizer-read``, ``cpu-optimizer``, ``optimizer-write`` and
            ``optimizer-h2d``.
        rank: pipeline rank it belongs to.
        replica: data-parallel replica (0 in a folded graph).
    """

    name: str
    rank: int
    replica: int = 0


@dataclass(frozen=True, slots=True)
class OpGraph:
    """Ops sorted by level; the ops of one level depend only on earlier levels.

    Within a level they are sorted by falling number of dependencies, stream order included, so
    that an engine can take the k-th dependencies of a level as one column. ``GraphDraft`` builds
    graphs that hold to all this.

    A stream runs its ops in increasing index. Every dependency, stream order included, points to
    a smaller index, so one pass over the index order solves the graph.

    Attributes:
        op_class: [ops], row of the cost table.
        stream: [ops], index into ``streams``; -1 for ops that need no stream (joins).
        resource: [ops], index into ``resources``, -1 for none. Ops on one resource at the same
            time share its bandwidth fairly.
        coupled: [ops], in a batch over data-parallel replicas these ops start together, when the
            last replica is ready (a collective over the replicas).
        phase, stage, microbatch: [ops] labels; -1 where there is none.
        pred_offsets: [ops + 1] and ``preds``: [edges]: dependencies in CSR form, without the
            order of the streams, each smaller than its op.
        stream_pred: [ops], previous op of the same stream, -1 for the first.
        level_offsets: [levels + 1], first op of every level.
        streams, resources, class_names: what the indices mean.
        flow: [ops], index into ``flows``, -1 for none; empty in a graph without flows. An op with a
            flow loads several resources at once and slows down when one of them is full; it has no
            ``resource``.
        flows: see ``Flow``.
        flow_class: [flows], what a flow leaves of a resource goes to those of higher classes; empty
            where all share alike.
    """

    op_class: IntArray
    stream: IntArray
    resource: IntArray
    coupled: BoolArray
    phase: IntArray
    stage: IntArray
    microbatch: IntArray
    pred_offsets: IntArray
    preds: IntArray
    stream_pred: IntArray
    level_offsets: IntArray
    streams: tuple[Stream, ...]
    resources: tuple[str, ...]
    class_names: tuple[str, ...]
    flow: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    flows: tuple[Flow, ...] = ()
    flow_class: tuple[int, ...] = ()

    @property
    def num_ops(self) -> int:
        """Ops in the graph."""
        return int(self.op_class.size)

    @property
    def shared_resources(self) -> BoolArray:
        """[resources], whether a resource is used by more than one stream.

        Ops of one stream never overlap, so only these can slow an op down. An op without a stream
        counts as a stream of its own.
        """
        users = np.flatnonzero(self.resource >= 0)
        resource = self.resource[users]
        owner = np.where(self.stream[users] >= 0, self.stream[users], len(self.streams) + users)
        any_owner = np.full(len(self.resources), -1, dtype=np.int64)
        any_owner[resource] = owner
        shared = np.zeros(len(self.resources), dtype=np.bool_)
        shared[resource[any_owner[resource] != owner]] = True
        return shared

    @property
    def has_shared_resources(self) -> bool:
        """Whether some resource is used by ops of more than one stream."""
        return bool(self.shared_resources.any()) or self._flows_meet

    @property
    def _flows_meet(self) -> bool:
        """Whether flows of several streams load some resource, or one more than it has."""
        if any(share > 1 for flow in self.flows for _, share in flow):
            return True
        streams_of: dict[int, set[int]] = {}
        users = np.flatnonzero(self.flow >= 0)
        pairs: set[tuple[int, int]] = set(
            zip(self.flow[users].tolist(), self.stream[users].tolist(), strict=True)
        )
        for flow, stream in pairs:
            for resource, _ in self.flows[flow]:
                streams_of.setdefault(resource, set()).add(stream)
        return any(len(streams) > 1 for streams in streams_of.values())


def describe_op(phase: int, stage: int, microbatch: int, stream: Stream | None) -> str:
    """The labels of an op in words, without those that are -1."""
    words = [OpPhase(phase).name if phase >= 0 else "op"]
    words += [f"stage {stage}"] if stage >= 0 else []
    words += [f"microbatch {microbatch}"] if microbatch >= 0 else []
    words += [f"on {stream.name} of rank {stream.rank}"] if stream else []
    words += [f"of replica {stream.replica}"] if stream and stream.replica else []
    return " ".join(words)
