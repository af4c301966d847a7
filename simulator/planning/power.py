"""Electric power of a device with its share of the host, from the catalogue."""

from __future__ import annotations

from simulator.machine import Node
from simulator.planning.budget import Sourced


def catalogue_power(node: Node) -> Sourced:
    """Rated power of a node over its devices: accelerator + (node - n * accelerator) / n.

    The second term is the host's share: processors, memory, NICs, fans, losses of the supplies.

    Assumes: the rated maximum, an upper bound; DGX H100 nodes drew at most 8.4 of their rated
        10.2 kW in training (arXiv 2412.08602). Where the catalogue gives a node less than its
        accelerators together, the accelerators alone count.
    """
    count, accelerator = node.num_devices, node.accelerator
    host_w = max(node.power_w - count * accelerator.power_w, 0.0) / count
    return Sourced(
        accelerator.power_w + host_w,
        f"catalogue, rated maximum: {accelerator.name} {accelerator.power_w:,.0f} W + 1/{count} of "
        f"the host of {node.name} {host_w:,.0f} W",
    )
