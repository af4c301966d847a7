"""Copies of one fabric joined by another: nodes of a cluster, racks, pods, sites.

Traffic between copies leaves by a gateway of its copy, crosses the outer fabric, and enters by a
gateway of the other copy. Nodes leave by their NICs, pods by those of their hosts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from simulator.errors import PlanError
from simulator.fabric.links import NO_LINK, Fabric, LinkGroup, LinkTable, Router
from simulator.numeric import FloatArray, IntArray, Numeric, ceil_div


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """What is copied: endpoints of the fabric are devices first, then gateways.

    Attributes:
        fabric: of one copy.
        num_devices: endpoints that remain endpoints.
        gateways: per device those by which it leaves, counted from 0: the nearest ones. A flow
            takes one of them by its key, so that flows with keys 0, 1, ... use all.
    """

    fabric: Fabric
    num_devices: int
    gateways: Sequence[Sequence[int]]

    @property
    def num_gateways(self) -> int:
        """Ports of a copy on the outer fabric."""
        return self.fabric.num_endpoints - self.num_devices


@dataclass(frozen=True, slots=True, eq=False)
class _JoinedRouter:
    """Devices of all copies.

    Attributes:
        shift: links of the outer fabric, which come first.
        gateways: [devices of a copy, most gateways of one], repeated to fill.
        num_nearest: [devices of a copy].
        rail_aware: whether a flow leaves by the gateway of its target's number, over the inner
            fabric if that is another device's, so that it stays on one rail outside.
    """

    inner: Router
    outer: Router
    unit_devices: int
    unit_gateways: int
    unit_links: int
    shift: int
    gateways: IntArray
    num_nearest: IntArray
    rail_aware: bool

    def routes(self, source: IntArray, target: IntArray, key: IntArray) -> IntArray:
        """See ``links.Router``."""
        copy, device = np.divmod(source, self.unit_devices)
        to_copy, to_device = np.divmod(target, self.unit_devices)
        inside = copy == to_copy
        enters = self._gateway(to_device, key)
        leaves = enters if self.rail_aware else self._gateway(device, key)
        to_gate = self._inner(copy, device, self.unit_devices + leaves, key)
        from_gate = self._inner(to_copy, self.unit_devices + enters, to_device, key)
        # Devices behind one gateway are told apart outside, too, as their port numbers are.
        pair = (key * self.unit_devices + device) * self.unit_devices + to_device
        between = self.outer.routes(
            copy * self.unit_gateways + leaves, to_copy * self.unit_gateways + enters, pair
        )
        away = np.concatenate([to_gate, between, from_gate], axis=1)
        home = self._inner(copy, device, to_device, key)
        return np.concatenate(
            [np.where(inside[:, None], home, NO_LINK), np.where(inside[:, None], NO_LINK, away)],
            axis=1,
        )

    def _gateway(self, device: IntArray, key: IntArray) -> IntArray:
        # Devices with the same gateways take them in turn.
        return self.gateways[device, (device + key) % self.num_nearest[device]]

    def _inner(self, copy: IntArray, a: IntArray, b: IntArray, key: IntArray) -> IntArray:
        links = self.inner.routes(a, b, key)
        shifted = links + self.shift + copy[:, None] * self.unit_links
        return np.where(links >= 0, shifted, NO_LINK)


def joined(
    name: str, unit: Unit, count: int, outer: Fabric, *, label: str, rail_aware: bool = False
) -> Fabric:
    """``count`` copies of a unit, whose gateways are the endpoints of an outer fabric.

    Args:
        name: of the whole.
        unit: what is copied.
        count: copies; endpoint = copy * devices of the unit + device.
        outer: its endpoint = copy * gateways of the unit + gateway.
        label: of a copy: ``node``, ``pod``, ``site``.
        rail_aware: leave by the target's rail. Source: NVIDIA technical blog 2022, "Doubling
            all2all performance with NCCL 2.12" (PXN).

    Raises:
        PlanError: if the outer fabric has fewer endpoints than there are gateways.
    """
    if outer.num_endpoints < count * unit.num_gateways:
        raise PlanError(
            f"{name}: {count} copies with {unit.num_gateways} gateways each, but "
            f"{outer.num_endpoints} ports to join them"
        )
    most = max((len(nearest) for nearest in unit.gateways), default=0) or 1
    nearest = [[g[i % len(g)] for i in range(most)] if g else [0] * most for g in unit.gateways]
    router = _JoinedRouter(
        inner=unit.fabric.router,
        outer=outer.router,
        unit_devices=unit.num_devices,
        unit_gateways=unit.num_gateways,
        unit_links=unit.fabric.num_links,
        shift=outer.num_links,
        gateways=np.array(nearest, dtype=np.int64),
        num_nearest=np.array([max(1, len(g)) for g in unit.gateways], dtype=np.int64),
        rail_aware=rail_aware,
    )
    copies = outer.num_links + np.arange(count) * unit.fabric.num_links
    inner_groups = (
        LinkGroup(f"{label} {{}}: {group.label}", np.add.outer(copies, group.ids))
        for group in unit.fabric.groups
    )
    return Fabric(
        name=name,
        num_endpoints=count * unit.num_devices,
        groups=(*outer.groups, *inner_groups),
        capacity_bytes_per_s=_repeated(outer, unit.fabric, count, "capacity_bytes_per_s"),
        latency_s=_repeated(outer, unit.fabric, count, "latency_s"),
        router=router,
        detour=replace(router, outer=outer.detour) if outer.detour else None,
    )


def _repeated(outer: Fabric, inner: Fabric, count: int, column: str) -> FloatArray:
    first: FloatArray = getattr(outer, column)
    copied: FloatArray = getattr(inner, column)
    return np.concatenate([first, np.tile(copied, count)])


@dataclass(frozen=True, slots=True, eq=False)
class _GateRouter:
    inner: Router
    num_devices: int
    per_gate: int
    out: IntArray
    into: IntArray

    def routes(self, source: IntArray, target: IntArray, key: IntArray) -> IntArray:
        """See ``links.Router``: to another's gateway over the first device that has it."""
        leaves, enters = target >= self.num_devices, source >= self.num_devices
        gate_out = np.where(leaves, target - self.num_devices, 0)
        gate_in = np.where(enters, source - self.num_devices, 0)
        start = np.where(enters, self._at_gate(gate_in, target), source)
        end = np.where(leaves, self._at_gate(gate_out, source), target)
        into = np.where(enters, self.into[gate_in], NO_LINK)
        out = np.where(leaves, self.out[gate_out], NO_LINK)
        inner = self.inner.routes(start, end, key)
        return np.concatenate([into[:, None], inner, out[:, None]], axis=1)

    def _at_gate(self, gate: IntArray, device: IntArray) -> IntArray:
        """The device itself if the gateway is its own, else the first that has it."""
        device = np.minimum(device, self.num_devices - 1)
        return np.where(device // self.per_gate == gate, device, gate * self.per_gate)


def with_gateways(
    fabric: Fabric, devices_per_gateway: int, bytes_per_s: Numeric, latency_s: Numeric
) -> Unit:
    """A unit whose devices each reach the outside over a link that they share with neighbours.

    Args:
        fabric: of the devices.
        devices_per_gateway: neighbours that share one: those of a host, say.
        bytes_per_s: of the link between devices and gateway, each way.
        latency_s: of that link.
    """
    # The last gateway may have fewer devices.
    count = ceil_div(fabric.num_endpoints, devices_per_gateway)
    table = LinkTable()
    out = table.add("devices to gateway {}", (count,), bytes_per_s, latency_s)
    into = table.add("gateway {} to devices", (count,), bytes_per_s, latency_s)
    shift = fabric.num_links
    gate = table.fabric("", 0, fabric.router)
    router = _GateRouter(
        fabric.router, fabric.num_endpoints, devices_per_gateway, out + shift, into + shift
    )
    groups = (LinkGroup(group.label, group.ids + shift) for group in table.groups)
    whole = Fabric(
        name=fabric.name,
        num_endpoints=fabric.num_endpoints + count,
        groups=(*fabric.groups, *groups),
        capacity_bytes_per_s=_repeated(fabric, gate, 1, "capacity_bytes_per_s"),
        latency_s=_repeated(fabric, gate, 1, "latency_s"),
        router=router,
    )
    nearest = [[device // devices_per_gateway] for device in range(fabric.num_endpoints)]
    return Unit(whole, fabric.num_endpoints, nearest)
