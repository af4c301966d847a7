"""What one rank may use of its node's host: PCIe, memory, NVMe and processors.

All ranks of a job do alike, so that one of them stands for all (docs/decisions/0006): of what a
node's ranks share, each has an equal part. What different streams of a rank share of that part,
the discrete-event engine finds out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from simulator.machine import Node
from simulator.numeric import Numeric

ADAM_BYTES_PER_PARAMETER: Final = 28.0
"""Host memory that an update moves per parameter: reads fp32 weight, two moments and gradient (16),
writes the first three (12). Source: ZeRO-Offload, arXiv 2101.06840, section 3."""

ADAM_MEMORY_FRACTION: Final = 0.43
"""Share of a host's theoretical memory bandwidth that Adam on its processors reaches.

Source: ZeRO-Offload, arXiv 2101.06840, table 4 (from memory): 10 billion parameters in 2.57 s on
    the two Xeon 8168 of a DGX-2, 3.9e9/s; times 28 bytes is 109 of 256 GB/s.
"""


@dataclass(frozen=True, slots=True)
class HostShare:
    """A rank's part of its node.

    Attributes:
        ranks_on_node: ranks that share it.
        link_bytes_per_s: the device's own PCIe link, per direction.
        tree_bytes_per_s: what reaches it when all ranks of the node copy, per direction.
        memory_bytes_per_s: of host memory, reads and writes together.
        nvme_read_bytes_per_s, nvme_write_bytes_per_s: 0 where the node has no NVMe.
        adam_parameters_per_s: of the node's processors.
    """

    ranks_on_node: int
    link_bytes_per_s: Numeric
    tree_bytes_per_s: Numeric
    memory_bytes_per_s: Numeric
    nvme_read_bytes_per_s: Numeric
    nvme_write_bytes_per_s: Numeric
    adam_parameters_per_s: Numeric


def host_share(node: Node, num_ranks: int) -> HostShare:
    """The part of each of the ``num_ranks`` ranks of a job, which fill nodes in order.

    Assumes: pages of host memory are spread over the sockets; processes are not bound to one.
    """
    ranks = min(num_ranks, node.num_devices)
    link = node.host_link_bytes_per_s
    memory = node.host_memory.read_bytes_per_s if node.host_memory else 0.0
    adam = node.adam_parameters_per_s
    if adam is None:
        adam = ADAM_MEMORY_FRACTION * memory / ADAM_BYTES_PER_PARAMETER
    return HostShare(
        ranks_on_node=ranks,
        link_bytes_per_s=link,
        tree_bytes_per_s=min(link, _switch_share(node, ranks), _together(node) / ranks),
        memory_bytes_per_s=memory / ranks,
        nvme_read_bytes_per_s=node.nvme.read_bytes_per_s / ranks if node.nvme else 0.0,
        nvme_write_bytes_per_s=node.nvme.write_bytes_per_s / ranks if node.nvme else 0.0,
        adam_parameters_per_s=adam / ranks,
    )


def _together(node: Node) -> float:
    """What all devices of a node copy together, where that was measured; else no limit."""
    return node.host_links_bytes_per_s or float("inf")


def _switch_share(node: Node, ranks: int) -> float:
    """A device's part of the link above its PCIe switch, of the most crowded switch."""
    below: dict[str, int] = {}
    above: dict[str, float] = {}
    for edge in node.edges:
        for device, switch in ((edge.a, edge.b), (edge.b, edge.a)):
            if switch.startswith("pcie") and device.startswith("gpu"):
                below[switch] = below.get(switch, 0) + (int(device[3:]) < ranks)
            if device.startswith("pcie") and switch.startswith("cpu"):
                above[device] = above.get(device, 0.0) + edge.bandwidth_bytes_per_s
    shares = [above[s] / users for s, users in below.items() if users and s in above]
    return min(shares, default=float("inf"))
