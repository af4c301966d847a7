"""One switch between all endpoints: NVSwitch, or the fabric of an NVL72 rack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from simulator.fabric.links import Fabric, LinkTable, stacked
from simulator.numeric import IntArray, Numeric


@dataclass(frozen=True, slots=True, eq=False)
class _SwitchRouter:
    up: IntArray
    down: IntArray

    def routes(self, source: IntArray, target: IntArray, key: IntArray) -> IntArray:
        """See ``links.Router``: up to the switch, down to the other endpoint."""
        other = source != target
        return stacked([self.up[source], self.down[target]], [other, other])


def single_switch(num_endpoints: int, bytes_per_s: Numeric, latency_s: Numeric) -> Fabric:
    """Every endpoint reaches every other one at its own full rate.

    Several switch chips side by side, over which each device spreads its traffic evenly, are one
    switch here: the 18 chips of an NVL72 rack, or the 4 of a DGX H100.

    Args:
        num_endpoints: devices.
        bytes_per_s: of the links of one endpoint together, each way; one or [endpoints].
        latency_s: of one link, so half of the way.
    """
    table = LinkTable()
    shape = (num_endpoints,)
    up = table.add("port {} to switch", shape, bytes_per_s, latency_s)
    down = table.add("switch to port {}", shape, bytes_per_s, latency_s)
    return table.fabric(f"switch of {num_endpoints}", num_endpoints, _SwitchRouter(up, down))


NVL72_DEVICES: Final = 72
NVL72_BYTES_PER_S: Final = 900e9
"""Of one GPU, each way. Source: NVIDIA GB200 NVL72: fifth-generation NVLink, 1.8 TB/s per GPU both
ways together, 130 TB/s in a rack of 72."""


def nvl72_rack(latency_s: float) -> Fabric:
    """A rack of 72 GPUs behind one layer of NVLink switches.

    Args:
        latency_s: of one link.
    """
    return single_switch(NVL72_DEVICES, np.full(NVL72_DEVICES, NVL72_BYTES_PER_S), latency_s)
