"""Prices of copies between a device, its host's memory and NVMe, and of Adam on the processors.

A copy takes bytes over the narrowest thing on its way, all of it to itself, and loads everything
on its way: so much the discrete-event engine slows it down when others load the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from simulator.host_share import ADAM_BYTES_PER_PARAMETER, HostShare
from simulator.numeric import Numeric, as_float
from simulator.offload import Offload
from simulator.workload.classes import CostTableDraft
from simulator.workload.draft import GraphDraft
from simulator.workload.op import Flow, OpPhase

Way = Literal["h2d", "h2d-broadcast", "d2h", "nvme-read", "nvme-write"]
"""From where to where; a broadcast is the copy of one owner, for which the others wait."""
CopyStream = Literal["h2d", "d2h", "nvme-read", "nvme-write"]
"""The queue in which copies of a way wait for one another."""
Cargo = Literal["weights", "updated weights", "gradients", "activations", "states"]
"""What a copy moves. States are the optimizer's."""

STREAMS: Final[Mapping[Way, CopyStream]] = {
    "h2d": "h2d",
    "h2d-broadcast": "h2d",
    "d2h": "d2h",
    "nvme-read": "nvme-read",
    "nvme-write": "nvme-write",
}
PHASES: Final[Mapping[Way, OpPhase]] = {
    "h2d": OpPhase.TO_DEVICE,
    "h2d-broadcast": OpPhase.TO_DEVICE,
    "d2h": OpPhase.TO_HOST,
    "nvme-read": OpPhase.LOAD_NVME,
    "nvme-write": OpPhase.STORE_NVME,
}
STATE_PHASES: Final[Mapping[Way, OpPhase]] = {
    **PHASES,
    "nvme-read": OpPhase.LOAD_STATES,
    "nvme-write": OpPhase.STORE_STATES,
}
"""Phases of copies of the optimizer's states, which are part of its step."""


@dataclass(frozen=True, slots=True)
class Owner:
    """For whom ops are made: where rows and flows are collected, and the rank that runs them."""

    draft: GraphDraft
    table: CostTableDraft
    rank: int
    replica: int


@dataclass(frozen=True, slots=True)
class Copies:
    """Ops that copy: their row in the cost table, their flow, what they do."""

    row: int
    flow: int
    phase: int


@dataclass(frozen=True, slots=True)
class HostCosts:
    """Rows and flows of everything that happens off the device.

    Attributes:
        weight_bytes, gradient_bytes: of one element as it travels.
        state_bytes: moments and master weight of one parameter.
        weight_shards, gradient_shards, optimizer_shards: ranks over which each is divided.
        swapped_bytes: [stages], activations of one microbatch that leave the device.
    """

    offload: Offload
    share: HostShare
    weight_bytes: float
    gradient_bytes: float
    state_bytes: float
    weight_shards: int
    gradient_shards: int
    optimizer_shards: int
    swapped_bytes: tuple[float, ...]

    def loads(self, way: Way) -> dict[str, Numeric]:
        """Part of the node -> bytes per second that it has for copies of that kind."""
        share = self.share
        match way:
            case "h2d":
                parts = {"pcie to device": share.tree_bytes_per_s}
            case "h2d-broadcast":
                # One owner copies while the others wait: the link and the memory are its own.
                memory = share.memory_bytes_per_s * share.ranks_on_node
                return {"pcie to device": share.link_bytes_per_s, "host memory": memory}
            case "d2h":
                parts = {"pcie to host": share.tree_bytes_per_s}
            case "nvme-read":
                parts = {"nvme read": share.nvme_read_bytes_per_s}
            case "nvme-write":
                parts = {"nvme write": share.nvme_write_bytes_per_s}
        return {**parts, "host memory": share.memory_bytes_per_s}

    def copy_s(self, way: Way, payload: Numeric) -> Numeric:
        """A copy that has its way to itself."""
        return payload / self.rate_bytes_per_s(way)

    def rate_bytes_per_s(self, way: Way) -> Numeric:
        """The narrowest part of a way."""
        rate: Numeric = np.inf
        for part in self.loads(way).values():
            rate = np.minimum(rate, part)
        return rate

    def copies(self, owner: Owner, way: Way, payload: float, *, what: Cargo) -> Copies:
        """Ops that each copy so many bytes.

        Activations take memory of the device and give it back; buffers of the rest are set aside.
        """
        moved = self.loads(way)
        flow = _flow(owner, moved, self.rate_bytes_per_s(way))
        row = owner.table.add(
            f"{way} {payload:.0f} B of {what}",
            {"offload": self.copy_s(way, payload)},
            alloc_bytes=payload if what == "activations" and way == "h2d" else 0.0,
            free_bytes=payload if what == "activations" and way == "d2h" else 0.0,
        )
        phases = STATE_PHASES if what == "states" else PHASES
        return Copies(row, flow, int(phases[way]))

    def adam(self, owner: Owner, parameters: float) -> Copies:
        """Ops that each update so many parameters on the processors."""
        rate = self.share.adam_parameters_per_s
        moves = {"host memory": self.share.memory_bytes_per_s}
        speed = np.minimum(rate * ADAM_BYTES_PER_PARAMETER, self.share.memory_bytes_per_s)
        flow = _flow(owner, moves, speed)
        seconds = parameters * ADAM_BYTES_PER_PARAMETER / speed
        row = owner.table.add(f"Adam on host, {parameters:.0f} parameters", {"offload": seconds})
        return Copies(row, flow, int(OpPhase.HOST_OPTIMIZER))


def _flow(owner: Owner, parts: dict[str, Numeric], rate: Numeric) -> int:
    """The flow of a copy at full speed: of each part it takes its rate over the part's."""
    flow: Flow = tuple(
        (
            owner.draft.add_resource(f"{part} of rank {owner.rank}, replica {owner.replica}"),
            as_float(rate / capacity),
        )
        for part, capacity in parts.items()
    )
    return owner.draft.add_flow(flow)
