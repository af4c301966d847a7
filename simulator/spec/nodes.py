"""Schema of ``hardware/nodes/*.yaml``: parts and counts, expanded into the graph of a node."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from simulator.errors import SpecError
from simulator.machine import Accelerator, Edge, MemoryTier, Node
from simulator.spec.collectives import CollectiveSpec
from simulator.spec.quantity import (
    AssumptionSpec,
    Bytes,
    BytesPerSecond,
    Count,
    CountOrZero,
    Positive,
    Seconds,
    Sourced,
    Text,
    Watts,
    assumptions,
)
from simulator.spec.validate import Spec

MAX_NODE_DEVICES = 1024
"""Largest node (scale-up domain) that is accepted."""


class SwitchSpec(Spec):
    """Every device reaches every other one at full rate (NVSwitch)."""

    kind: Literal["switch"]
    bandwidth: Sourced[BytesPerSecond]
    latency: Sourced[Seconds]

    def edges(self, num_devices: int) -> list[Edge]:
        """One link from each device to the switch."""
        rate, latency = self.bandwidth.value, self.latency.value
        return [Edge(f"gpu{i}", "switch0", rate, latency) for i in range(num_devices)]


Link = tuple[CountOrZero, CountOrZero, Count]
"""Two devices and how many parallel links join them."""


class MeshSpec(Spec):
    """Devices joined directly by an explicit list of links."""

    kind: Literal["mesh"]
    link_bandwidth: Sourced[BytesPerSecond]
    latency: Sourced[Seconds]
    links: Sourced[tuple[Link, ...]]

    def edges(self, num_devices: int) -> list[Edge]:
        """One edge per pair of devices, as wide as its parallel links."""
        pairs = [(min(a, b), max(a, b)) for a, b, _ in self.links.value]
        for a, b in pairs:
            if b >= num_devices or a == b:
                raise SpecError(
                    f"link [{a}, {b}] does not join two of the {num_devices} devices",
                    hint=f"devices are numbered 0 to {num_devices - 1}",
                )
            if pairs.count((a, b)) > 1:
                raise SpecError(f"link [{a}, {b}] occurs twice", hint="give its multiplicity once")
        rate, latency = self.link_bandwidth.value, self.latency.value
        return [Edge(f"gpu{a}", f"gpu{b}", n * rate, latency) for a, b, n in self.links.value]


class HostSpec(Spec):
    """Processors, the PCIe switches below them and the links between; spread evenly.

    With no switches, devices and NICs hang on the processors themselves.
    """

    sockets: Sourced[Count]
    switches: Sourced[CountOrZero]
    device_bandwidth: Sourced[BytesPerSecond]
    switch_bandwidth: Sourced[BytesPerSecond]
    socket_bandwidth: Sourced[BytesPerSecond]
    latency: Sourced[Seconds]

    @property
    def places(self) -> list[str]:
        """Parts on which devices hang, in order."""
        if self.switches.value:
            return [f"pcie{i}" for i in range(self.switches.value)]
        return [f"cpu{i}" for i in range(self.sockets.value)]

    def edges(self, num_devices: int) -> list[Edge]:
        """The tree: processors in a ring, switches below them, devices below those."""
        sockets, switches, latency = self.sockets.value, self.switches.value, self.latency.value
        between = {tuple(sorted((i, (i + 1) % sockets))) for i in range(sockets) if sockets > 1}
        edges = [
            Edge(f"cpu{a}", f"cpu{b}", self.socket_bandwidth.value, latency)
            for a, b in sorted(between)
        ]
        edges += [
            Edge(f"pcie{i}", f"cpu{i * sockets // switches}", self.switch_bandwidth.value, latency)
            for i in range(switches)
        ]
        places = self.places
        rate = self.device_bandwidth.value
        return edges + [
            Edge(f"gpu{i}", places[i * len(places) // num_devices], rate, latency)
            for i in range(num_devices)
        ]


class NicsSpec(Spec):
    """Network adapters, spread evenly over the parts they are attached to."""

    count: Sourced[CountOrZero]
    bandwidth: Sourced[BytesPerSecond]
    attach: Sourced[Literal["switch", "gpu", "cpu"]]

    def edges(self, num_devices: int, host: HostSpec) -> list[Edge]:
        """One edge per NIC, as fast as the NIC."""
        match self.attach.value:
            case "gpu":
                places = [f"gpu{i}" for i in range(num_devices)]
            case "cpu":
                places = [f"cpu{i}" for i in range(host.sockets.value)]
            case "switch":
                places = host.places
        count, latency = self.count.value, host.latency.value
        return [
            Edge(f"nic{i}", places[i * len(places) // count], self.bandwidth.value, latency)
            for i in range(count)
        ]


class TierSpec(Spec):
    """Host memory or NVMe, all of the node's."""

    capacity: Sourced[Bytes]
    read: Sourced[BytesPerSecond]
    write: Sourced[BytesPerSecond]

    def build(self) -> MemoryTier:
        """The frozen form."""
        return MemoryTier(self.capacity.value, self.read.value, self.write.value)


class NodeSpec(Spec):
    """A host with its devices.

    ``accelerator`` is a preset's name, a path, or a whole description.
    """

    name: Text
    accelerator: str | dict[str, object]
    num_devices: Sourced[Annotated[Count, Field(le=MAX_NODE_DEVICES)]]
    scale_up: Annotated[SwitchSpec | MeshSpec, Field(discriminator="kind")] | None = None
    host: HostSpec
    nics: NicsSpec
    collectives: CollectiveSpec
    host_memory: TierSpec | None = None
    nvme: TierSpec | None = None
    host_link: Sourced[BytesPerSecond]
    host_links: Sourced[BytesPerSecond] | None = None
    adam_parameters_per_s: Sourced[Positive] | None = None
    power: Sourced[Watts]
    assumptions: tuple[AssumptionSpec, ...] = ()

    def build(self, accelerator: Accelerator) -> Node:
        """The frozen form, every part and link spelled out.

        Raises:
            SpecError: if a link names a device that is not there.
        """
        num_devices = self.num_devices.value
        scale_up = self.scale_up.edges(num_devices) if self.scale_up else []
        return Node(
            name=self.name,
            accelerator=accelerator,
            num_devices=num_devices,
            edges=(
                *scale_up,
                *self.host.edges(num_devices),
                *self.nics.edges(num_devices, self.host),
            ),
            num_nics=self.nics.count.value,
            nic_bytes_per_s=self.nics.bandwidth.value,
            collectives=self.collectives.curve(),
            host_memory=self.host_memory.build() if self.host_memory else None,
            nvme=self.nvme.build() if self.nvme else None,
            host_link_bytes_per_s=self.host_link.value,
            power_w=self.power.value,
            assumptions=assumptions(self.assumptions),
            host_links_bytes_per_s=self.host_links.value if self.host_links else None,
            adam_parameters_per_s=(
                self.adam_parameters_per_s.value if self.adam_parameters_per_s else None
            ),
        )
