"""Which devices run a collective together, and what it loads of the fabric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from simulator.machine import GroupLink
from simulator.numeric import FloatArray, IntArray, as_float
from simulator.plan import ProcessGroup
from simulator.workload.draft import Ops
from simulator.workload.move_prices import moves_s
from simulator.workload.op import Flow, OpPhase
from simulator.workload.replica import Replica
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

_Collective: TypeAlias = tuple[ProcessGroup, bool, float]
"""A collective of a row: its groups, whether it is an all-to-all, and its seconds."""
_NEXT: Final = 1e-7
"""Places between the collectives of a row: less than any op has that follows them."""


def data_messages(one: Replica, devices: Devices) -> list[Message]:
    """Collectives over the replicas, those that load the fabric alike as one message.

    What is one collective after another (over the levels of a sharding policy, or over all ranks
    and over those with the same experts) becomes one op after another in the draft of ``one``, each
    for every one of its own groups.
    """
    ops = one.draft.ops()
    found: dict[tuple[int, int, ProcessGroup, bool], list[tuple[int, int]]] = {}
    for coupled in one.coupled:
        if coupled.everywhere:
            continue
        for entry, op in zip(coupled.entry.tolist(), coupled.ids.tolist(), strict=True):
            parts = _collectives_of(one, devices, int(ops.op_class[op]))
            chain = _cut(one, ops, op, parts) if len(parts) > 1 else [op]
            kind = _CLASS_OF[OpPhase(int(ops.phase[op]))], int(ops.stream[op])
            for before, own, (group, exchanges, _) in zip(
                [entry, *chain], chain, parts, strict=False
            ):
                found.setdefault((*kind, group, exchanges), []).append((before, own))
    rate = devices.fabric.ring_bytes_per_s
    messages: list[Message] = []
    for (flow_class, stream, group, exchanges), pairs in found.items():
        entries, own = np.array(pairs).T
        rank, members = one.draft.streams[stream].rank, devices.siblings(group)
        flows = [
            devices.load(each, rank, exchanges=exchanges, bytes_per_s=rate) for each in members
        ]
        messages.append(Message(entries, own, stream, members, flows, flow_class))
    return messages


def _collectives_of(one: Replica, devices: Devices, row: int) -> list[_Collective]:
    """The collectives of a row between several ranks, those of a kind of group together."""
    context = one.costs.pricer.context
    seconds: dict[tuple[ProcessGroup, bool], float] = {}
    for move in one.costs.moves[row]:
        if as_float(move.link.size) > 1:
            key = devices.group_of(move.link), move.kind == "all_to_all"
            seconds[key] = seconds.get(key, 0.0) + as_float(moves_s((move,), context))
    return [(*key, took_s) for key, took_s in seconds.items()]


def _cut(one: Replica, ops: Ops, op: int, parts: Sequence[_Collective]) -> list[int]:
    """Ops of the collectives of a row, the first in the place of the row's own."""
    table = one.costs.table
    name = table.names[int(ops.op_class[op])]
    rows = [
        table.add(f"{name}, part {place}", {"dp_comm": seconds})
        for place, (_, _, seconds) in enumerate(parts)
    ]
    added = one.draft.add_ops(
        np.array(rows[1:]),
        int(ops.stream[op]),
        order=ops.order[op] + _NEXT * np.arange(1, len(rows)),
        phase=int(ops.phase[op]),
        stage=int(ops.stage[op]),
    )
    one.draft.end_with(np.array([op]), np.array(rows[:1]), added[-1:])
    return [op, *added.tolist()]


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
