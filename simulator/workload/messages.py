"""Which devices run a collective together, and what it loads of the fabric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from simulator.machine import GroupLink
from simulator.numeric import FloatArray, IntArray, as_float
from simulator.plan import ProcessGroup
from simulator.workload.move_prices import moves_s
from simulator.workload.op import Flow, OpPhase
from simulator.workload.replica import CoupledOps, Replica
from simulator.workload.wires import JobFabric, group_load, load


@dataclass(frozen=True, slots=True)
class Message:
    """Ops of every device that load the fabric alike.

    Attributes:
        entry: [ops] of one replica, what has to end on all devices of a group.
        ops: [ops] that then run, once for each group, on its first device.
        stream: index of their stream in the draft of one replica.
        members: of every group its devices, in order.
        flows: of every group, over links of the fabric; empty where it meets nobody.
        flow_class: what passes wait for comes before what runs beside them.
    """

    entry: IntArray
    ops: IntArray
    stream: int
    members: Sequence[IntArray]
    flows: Sequence[Flow]
    flow_class: int = 0


@dataclass(frozen=True, slots=True)
class Devices:
    """All devices of a job on a fabric.

    Attributes:
        ranks: [devices, pipeline ranks], global rank of every device.
        tp: neighbouring devices that differ in nothing but their part of the tensors.
        fabric: over which they communicate.
        group_of: the group whose link this is.
    """

    ranks: IntArray
    tp: int
    fabric: JobFabric
    group_of: Callable[[GroupLink], ProcessGroup]

    def siblings(self, group: ProcessGroup) -> list[IntArray]:
        """Devices of every group of this shape, by their places."""
        ranks = self.ranks[:, 0]
        label = ranks // (group.size * group.stride) * group.stride + ranks % group.stride
        order = np.argsort(label, kind="stable")
        starts = np.flatnonzero(np.diff(label[order], prepend=-1))
        return np.split(order, starts[1:])

    def load(
        self, members: IntArray, rank: int, *, exchanges: bool, bytes_per_s: FloatArray
    ) -> Flow:
        """Load of a collective of some devices, of their part on a pipeline rank."""
        ranks = self.ranks[members, rank]
        return group_load(self.fabric, ranks, bytes_per_s, exchanges=exchanges)


CLASSES: Final = ("passes", "weights", "gradients")
"""Traffic in the order in which it is missed: sends and collectives inside passes, gathers of
weights, reductions of gradients."""
_CLASS_OF: Final = {OpPhase.GATHER_WEIGHTS: 1, OpPhase.GATHER_STEP: 1, OpPhase.REDUCE_GRADIENTS: 2}

_Part: TypeAlias = tuple[ProcessGroup, bool, float]
"""A collective of a row: its groups, whether it is an all-to-all, and its share of the time."""


def data_messages(one: Replica, devices: Devices) -> list[Message]:
    """Collectives over the replicas, those that load the fabric alike as one message.

    What is one collective after another loads the links of each by its share of the time. A
    collective of one kind of group runs for each of these for itself; several kinds bind all
    replicas together.

    Assumes: of collectives in a row one with a share w of their time T, on links of which s times
        too much is asked, makes them T max(1, w s) long; one by one it would be T (1 - w + w s).
    """
    ops = one.draft.ops()
    found: dict[tuple[int, int, tuple[_Part, ...]], list[tuple[int, int]]] = {}
    for coupled in one.coupled:
        if coupled.everywhere:
            continue
        for entry, op in zip(coupled.entry.tolist(), coupled.ids.tolist(), strict=True):
            parts = _parts(one, devices, int(ops.op_class[op]))
            key = _CLASS_OF[OpPhase(int(ops.phase[op]))], int(ops.stream[op]), parts
            found.setdefault(key, []).append((entry, op))
    return [
        replace(
            _data_message(one, devices, CoupledOps(*np.array(pairs).T), stream, parts),
            flow_class=flow_class,
        )
        for (flow_class, stream, parts), pairs in found.items()
    ]


def _parts(one: Replica, devices: Devices, row: int) -> tuple[_Part, ...]:
    """The collectives of a row between several ranks."""
    moves = [move for move in one.costs.moves[row] if as_float(move.link.size) > 1]
    context = one.costs.pricer.context
    seconds = [as_float(moves_s((move,), context)) for move in moves]
    shares: dict[tuple[ProcessGroup, bool], float] = {}
    for move, took_s in zip(moves, seconds, strict=True):
        key = devices.group_of(move.link), move.kind == "all_to_all"
        shares[key] = shares.get(key, 0.0) + took_s / sum(seconds)
    # The same collectives in pieces of another size are rounded otherwise.
    return tuple((*key, round(share, 9)) for key, share in shares.items())


def _data_message(
    one: Replica, devices: Devices, ops: CoupledOps, stream: int, parts: tuple[_Part, ...]
) -> Message:
    rank = one.draft.streams[stream].rank
    leaders = [np.arange(first, len(devices.ranks), devices.tp) for first in range(devices.tp)]
    members = devices.siblings(parts[0][0]) if len(parts) == 1 else leaders
    leader_of = np.empty(len(devices.ranks), dtype=np.int64)
    for place, group in enumerate(members):
        leader_of[group] = place
    shares: list[dict[int, float]] = [{} for _ in members]
    rate = devices.fabric.ring_bytes_per_s
    for group, exchanges, part in parts:
        for own in devices.siblings(group):
            taken = shares[leader_of[own[0]]]
            flow = devices.load(own, rank, exchanges=exchanges, bytes_per_s=rate)
            for link, share in flow:
                taken[link] = taken.get(link, 0.0) + share * part
    flows = [tuple(sorted(taken.items())) for taken in shares]
    return Message(ops.entry, ops.ids, stream, members, flows)


def send_messages(one: Replica, devices: Devices) -> list[Message]:
    """Sends beside compute, each device for itself."""
    ops, fabric = one.draft.ops(), devices.fabric
    stage_rank = one.schedule.stage_rank.tolist()
    found: dict[tuple[int, int, int], list[int]] = {}
    for phase, step in ((OpPhase.SEND_ACTIVATION, 1), (OpPhase.SEND_GRADIENT, -1)):
        for op in np.flatnonzero(ops.phase == phase).tolist():
            stage = int(ops.stage[op])
            key = int(ops.stream[op]), stage_rank[stage], stage_rank[stage + step]
            found.setdefault(key, []).append(op)
    messages: list[Message] = []
    each = [np.array([device]) for device in range(len(devices.ranks))]
    for (stream, source, target), own in found.items():
        hops = devices.ranks[:, [source, target]]
        apart = hops[:, 0] // fabric.devices_per_node != hops[:, 1] // fabric.devices_per_node
        flows = [
            load(fabric, hop[None][: int(far)], fabric.message_bytes_per_s)
            for hop, far in zip(hops, apart, strict=True)
        ]
        sent = np.array(own)
        messages.append(Message(sent, sent, stream, each, flows))
    return messages
