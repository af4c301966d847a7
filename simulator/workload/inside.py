"""Collectives inside passes that leave the node, as flows between the halves of their pass.

A pass that holds them becomes half of its compute, all of them as one flow, and the other half. All
replicas do the same at the same time: their layers communicate in step, so what meets in one layer
meets in all of them, as it does when the collectives of the layers are put together in the middle.
A flow beside the whole pass, at its mean rate, would never fill a link that bursts of several
replicas fill at once, and would hide what the pass waits for.

Assumes: between passes that are not in step (those of other pipeline ranks) the middle of a pass
    stands for all its layers. Messages go at the rate of the NICs, and what their collectives take
    longer than that (start-ups, the way inside the node) is spent in the halves. Collectives that
    run beside a product (``Overlapped``) keep their price and load no link, as does what stays in
    the node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.cost.collective import CollectiveKind
from simulator.numeric import IntArray, Numeric, as_float
from simulator.plan import ProcessGroup
from simulator.schedule.action import Phase
from simulator.workload.data_moves import Move, network_bytes
from simulator.workload.messages import Devices, Message
from simulator.workload.price import KernelCost
from simulator.workload.replica import CoupledOps, Replica
from simulator.workload.stage import StageCost, StagePricer

_APART: Final = 0.02
"""Places between the parts of a pass: less than any op has that follows the pass."""
_KINDS: Final[tuple[CollectiveKind, ...]] = (
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "all_to_all",
)


@dataclass(frozen=True, slots=True)
class Inside:
    """Collectives of one axis that leave the node.

    Attributes:
        axis: ``tp`` or ``ep``.
        group: whose they are.
        pricer: of stages, as if nobody shared the links above the NICs.
    """

    axis: str
    group: ProcessGroup
    pricer: StagePricer

    def seconds(self, cost: StageCost) -> Numeric:
        """What a phase of a stage waits for them."""
        return sum(kernel.exposed_s * times for kernel, times, _ in self._own(cost))

    def sent_bytes(self, cost: StageCost) -> Numeric:
        """What a rank sends to other nodes meanwhile."""
        link = self.pricer.context.links[self.axis]
        return sum(
            network_bytes(Move(kind, kernel.payload_bytes, link)) * times
            for kernel, times, kind in self._own(cost)
        )

    def _own(self, cost: StageCost) -> list[tuple[KernelCost, Numeric, CollectiveKind]]:
        return [
            (kernel, times, kind)
            for kernel, times in cost.kernels
            for kind in _KINDS
            if kernel.family == f"{self.axis} {kind}"
        ]


@dataclass(frozen=True, slots=True)
class Cut:
    """Passes with their collectives between halves.

    Attributes:
        ends: [pieces], the op with which every piece of a pass ends.
        messages: collectives of all devices.
    """

    ends: IntArray
    messages: list[Message]


@dataclass(frozen=True, slots=True)
class _CutRows:
    """Rows of a piece that is cut.

    Attributes:
        head, tail: of its halves.
        flows: of what the collectives of every axis send, -1 where it has none.
    """

    head: int
    tail: int
    flows: tuple[int, ...]


def cut_passes(one: Replica, inside: Sequence[Inside], devices: Devices) -> Cut:
    """Puts the collectives of passes between their halves, in the draft of one replica.

    Args:
        one: lowered; its passes are cut in its draft.
        inside: what is followed.
        devices: that run it.
    """
    pieces, draft = one.pieces, one.draft
    rows, streams = draft.ops().op_class[one.ids], draft.ops().stream[one.ids]
    columns = (rows, pieces.phase, pieces.stage, pieces.count)
    keys = list(zip(*(column.tolist() for column in columns), strict=True))
    full = float(devices.fabric.ring_bytes_per_s.min())
    known = {key: _cut_rows(one, inside, key, full) for key in dict.fromkeys(keys)}
    parts = [known[key] for key in keys]
    ends, entry = one.ids.copy(), one.ids.copy()
    messages: list[Message] = []

    def add(chosen: IntArray, op_class: list[int], place: int) -> IntArray:
        return draft.add_ops(
            np.array(op_class, dtype=np.int64),
            streams[chosen],
            order=pieces.order[chosen] + _APART * place,
            phase=pieces.phase[chosen],
            stage=pieces.stage[chosen],
            microbatch=pieces.microbatch[chosen],
        )

    for place, own in enumerate(inside):
        chosen = np.flatnonzero([part.flows[place] >= 0 for part in parts])
        ops = add(chosen, [parts[i].flows[place] for i in chosen], place + 1)
        messages += _messages(own, devices, one, CoupledOps(entry[chosen], ops))
        entry[chosen] = ops
    cut = np.flatnonzero([max(part.flows, default=-1) >= 0 for part in parts])
    ends[cut] = add(cut, [parts[i].tail for i in cut], len(inside) + 1)
    draft.end_with(one.ids[cut], np.array([parts[i].head for i in cut], np.int64), ends[cut])
    return Cut(ends, messages)


def _cut_rows(
    one: Replica, inside: Sequence[Inside], key: tuple[int, ...], bytes_per_s: float
) -> _CutRows:
    """Rows of the parts of a piece.

    Args:
        one: whose costs get the rows.
        inside: what is followed.
        key: row, phase and stage of the piece, and the pieces of its pass.
        bytes_per_s: at which a rank sends to other nodes.
    """
    row, phase, stage, count = key
    costs, table, kind = one.costs, one.costs.table, one.costs.kinds[stage]
    priced = costs.stage_cost(stage, Phase(phase))
    elsewhere: dict[str, Numeric] = {}
    flows: list[int] = []
    for own in inside:
        alone, term = own.pricer.cost(kind, Phase(phase)), f"{own.axis}_comm"
        seconds = as_float(own.seconds(alone)) / count
        sending_s = min(as_float(own.sent_bytes(alone)) / count / bytes_per_s, seconds)
        elsewhere[term] = own.seconds(priced) / count - (seconds - sending_s)
        name = f"{own.axis} of {Phase(phase).name} {kind.label}, 1 of {count}"
        flows.append(table.add(name, {term: sending_s}) if sending_s else -1)
    if max(flows, default=-1) < 0:
        return _CutRows(row, row, tuple(flows))
    head, tail = table.halves(row, elsewhere, at_end="pp_comm")
    return _CutRows(head, tail, tuple(flows))


def _messages(own: Inside, devices: Devices, one: Replica, ops: CoupledOps) -> list[Message]:
    """Collectives of one axis, those of a stream together; ``ops`` of the draft of ``one``."""
    streams = one.draft.ops().stream[ops.ids]
    members = devices.siblings(own.group)
    messages: list[Message] = []
    for stream in sorted(set[int](streams.tolist())):
        rank, same = one.draft.streams[stream].rank, streams == stream
        flows = [
            devices.load(
                group,
                rank,
                exchanges=own.axis == "ep",
                bytes_per_s=devices.fabric.ring_bytes_per_s,
            )
            for group in members
        ]
        messages.append(Message(ops.entry[same], ops.ids[same], stream, members, flows))
    return messages
