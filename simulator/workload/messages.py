"""Which devices run a collective together, and what it loads of the fabric."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from simulator.machine import GroupLink, PathLink
from simulator.numeric import FloatArray, IntArray, as_float
from simulator.plan import ProcessGroup
from simulator.workload.data_moves import network_bytes
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

_NEXT: Final = 1e-7
"""Places between the parts of what was one op: less than any op has that follows it."""


class _Collectives(NamedTuple):
    """Those of a row over groups of one kind.

    Attributes:
        group: whose they are.
        exchanges: they are all-to-alls.
        start_s: what they take beside sending to other nodes.
        sending_s: at the rate of the NICs, 0 within a node.
    """

    group: ProcessGroup
    exchanges: bool
    start_s: float
    sending_s: float


def data_messages(one: Replica, devices: Devices) -> list[Message]:
    """Collectives over the replicas, those that load the fabric alike as one message.

    What is one collective after another (over the levels of a sharding policy, or over all ranks
    and over those with the same experts) becomes one op after another in the draft of ``one``, each
    for every one of its own groups. What a collective takes beside its bytes (start-ups, the way
    inside the node) is an op before them, which a full link makes no longer.
    """
    ops = one.draft.ops()
    alike: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    for coupled in one.coupled:
        if coupled.everywhere:
            continue
        for entry, op in zip(coupled.entry.tolist(), coupled.ids.tolist(), strict=True):
            key = int(ops.op_class[op]), int(ops.phase[op]), int(ops.stream[op])
            alike.setdefault(key, []).append((entry, op))
    found: dict[tuple[int, int, ProcessGroup, bool], list[IntArray]] = {}
    for (row, phase, stream), pairs in alike.items():
        entries, own = np.array(pairs).T
        parts = _collectives_of(one, devices, row)
        rows, places = _rows_of(one, row, parts)
        chain = _in_parts(one, own, rows)
        for part, place in zip(parts, places, strict=True):
            key = _CLASS_OF[OpPhase(phase)], stream, part.group, part.exchanges
            before = chain[place - 1] if place else entries
            found.setdefault(key, []).append(np.stack((before, chain[place])))
    rate = devices.fabric.ring_bytes_per_s
    messages: list[Message] = []
    for (flow_class, stream, group, exchanges), ends in found.items():
        before, own = np.concatenate(ends, axis=1)
        rank, members = one.draft.streams[stream].rank, devices.siblings(group)
        flows = [
            devices.load(each, rank, exchanges=exchanges, bytes_per_s=rate) for each in members
        ]
        messages.append(Message(before, own, stream, members, flows, flow_class))
    return messages


def _collectives_of(one: Replica, devices: Devices, row: int) -> list[_Collectives]:
    """The collectives of a row between several ranks, those of a kind of group together."""
    context, full = one.costs.pricer.context, float(devices.fabric.ring_bytes_per_s.min())
    found: dict[tuple[ProcessGroup, bool], list[tuple[float, float]]] = {}
    for move in one.costs.moves[row]:
        if as_float(move.link.size) > 1:
            key = devices.group_of(move.link), move.kind == "all_to_all"
            took_s = as_float(moves_s((move,), context))
            sending_s = min(as_float(network_bytes(move)) / full, took_s)
            found.setdefault(key, []).append((took_s - sending_s, sending_s))
    parts = [_Collectives(*key, *np.sum(each, axis=0).tolist()) for key, each in found.items()]
    if not parts:
        return []
    # What a stack spends on lists of shards is the row's alone: it comes before the first.
    first = parts[0]
    beside_s = as_float(one.costs.table.seconds(row)) - sum(p.start_s + p.sending_s for p in parts)
    return [first._replace(start_s=max(first.start_s + beside_s, 0.0)), *parts[1:]]


def _rows_of(one: Replica, row: int, parts: Sequence[_Collectives]) -> tuple[list[int], list[int]]:
    """Rows of what collectives of a row do one after another, and the places of the flows there."""
    table, seconds, places = one.costs.table, list[float](), list[int]()
    for part in parts:
        seconds += [own_s for own_s in (part.start_s, part.sending_s) if own_s > 0] or [0.0]
        places.append(len(seconds) - 1)
    if len(seconds) == 1:
        return [row], places
    name = table.names[row]
    rows = [
        table.add(f"{name}, part {place}", {"dp_comm": own_s})
        for place, own_s in enumerate(seconds)
    ]
    return rows, places


def _in_parts(one: Replica, ops: IntArray, rows: Sequence[int]) -> list[IntArray]:
    """Ops of several rows in the place of each op of one; the op itself is the first."""
    if len(rows) < 2:
        return [ops] * len(rows)
    columns = one.draft.ops()
    later = [
        one.draft.add_ops(
            row,
            columns.stream[ops],
            order=columns.order[ops] + _NEXT * place,
            phase=columns.phase[ops],
            stage=columns.stage[ops],
            microbatch=columns.microbatch[ops],
        )
        for place, row in enumerate(rows[1:], 1)
    ]
    one.draft.end_with(ops, np.full(ops.size, rows[0]), later[-1])
    return [ops, *later]


def send_messages(one: Replica, devices: Devices) -> list[Message]:
    """Sends beside compute, each device for itself; the bytes of each follow its start-up."""
    ops, fabric = one.draft.ops(), devices.fabric
    stage_rank = one.schedule.stage_rank.tolist()
    alike: dict[tuple[int, int, int], list[int]] = {}
    for phase in (OpPhase.SEND_ACTIVATION, OpPhase.SEND_GRADIENT):
        for op in np.flatnonzero(ops.phase == phase).tolist():
            key = int(ops.stream[op]), int(ops.stage[op]), int(phase)
            alike.setdefault(key, []).append(op)
    found: dict[tuple[int, int, int], list[IntArray]] = {}
    for (stream, stage, phase), own in alike.items():
        forward = phase == OpPhase.SEND_ACTIVATION
        path = one.paths[stage if forward else stage - 1]
        row = int(ops.op_class[own[0]])
        start, sent = _in_parts(one, np.array(own), _send_rows(one, row, path))
        key = stream, stage_rank[stage], stage_rank[stage + (1 if forward else -1)]
        found.setdefault(key, []).append(np.stack((start, sent)))
    messages: list[Message] = []
    each = [np.array([device]) for device in range(len(devices.ranks))]
    for (stream, source, target), ends in found.items():
        hops = devices.ranks[:, [source, target]]
        apart = hops[:, 0] // fabric.devices_per_node != hops[:, 1] // fabric.devices_per_node
        flows = [
            load(fabric, hop[None][: int(far)], fabric.message_bytes_per_s)
            for hop, far in zip(hops, apart, strict=True)
        ]
        start, sent = np.concatenate(ends, axis=1)
        messages.append(Message(start, sent, stream, each, flows))
    return messages


def _send_rows(one: Replica, row: int, path: PathLink | None) -> tuple[int, int]:
    """Rows of the start of a send and of its bytes; all of one inside a node is its start."""
    costs, table = one.costs, one.costs.table
    if path is None or not as_float(path.crosses_network):
        return row, costs.join_row()
    start_s = costs.send_s(replace(path, bandwidth_bytes_per_s=math.inf))
    name, sending_s = table.names[row], costs.send_s(path) - start_s
    return (
        table.add(f"start of {name}", {"pp_comm": start_s}),
        table.add(f"bytes of {name}", {"pp_comm": sending_s}),
    )
