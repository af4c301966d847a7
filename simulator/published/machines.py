"""Finds the cluster description on which a row runs, by source, accelerator and network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from simulator.numeric import ceil_div
from simulator.published.families import Settings
from simulator.published.rows import CannotRunError, PublishedRow


@dataclass(frozen=True, slots=True)
class Machine:
    """One rule: rows whose columns match run on ``cluster``.

    Attributes:
        source: matches the file stem.
        gpu: matches the lower-case ``gpu`` column followed by the memory, ``a100 80``.
        network: matches the lower-case ``interconnect_inter`` column.
        devices_per_node: of the cluster's node.
        nearest: why this is only the nearest description, empty when it is the machine itself.
    """

    source: str
    gpu: str
    network: str
    cluster: str
    devices_per_node: int
    nearest: str = ""

    def matches(self, row: PublishedRow) -> bool:
        """Whether the rule is for this row."""
        memory = row.number("gpu_mem_gb")
        gpu = f"{row.lower('gpu')} {memory:g}" if memory else f"{row.lower('gpu')} "
        return (
            re.match(self.source, row.source) is not None
            and re.match(self.gpu, gpu) is not None
            and re.search(self.network, row.lower("interconnect_inter")) is not None
        )


MACHINES: Final = (
    Machine("sc21|kort|mtnlg", r"a100", "", "selene", 8),
    Machine("megascale", r"a100", "", "clos-a100-12288", 8),
    Machine("bloomA100", r"a100", "", "jean-zay-a100", 8),
    Machine("bsGPT2", r"v100-32gb", "", "jean-zay-v100", 4),
    Machine("azure", r"a100", "", "azure-ndmv4", 8),
    Machine("llama3", r"h100", "", "meta-h100-roce-24k", 8),
    Machine("", r"mi250x", "", "frontier", 8),
    Machine("", r"tpuv3", "", "tpu-v3-pod", 4),
    Machine("", r"tpuv4", "", "tpu-v4-pod", 4),
    Machine("", r"tpuv5e", "", "tpu-v5e-pod", 4),
    Machine("", r"tpuv5p", "", "tpu-v5p-pod", 4),
    Machine("", r"tpuv6e", "", "tpu-v6e-pod", 4),
    Machine("", r"v100-sxm3", "", "dgx-2-cluster", 16),
    Machine("", r"v100 16", "", "dgx-1-cluster", 8),
    Machine("", r"v100", "", "dgx-2-cluster", 16, "V100 of another form factor"),
    Machine("", r"a100-(sxm4-)?40gb|a100 40", "efa|4x100|400", "aws-p4d", 8),
    Machine("", r"a100-(sxm4-)?40gb|a100 40", "", "azure-ndv4", 8, "network not this one"),
    Machine("", r"a100", "selene", "selene", 8),
    Machine("", r"a100", "4x ?hdr", "selene", 8, "half as many NICs per node"),
    Machine("", r"a100", "roce 1600|2 tb/s|roce rdma", "clos-a100-12288", 8, "same RoCE bandwidth"),
    Machine("", r"a100", "4x100|400 gb", "jean-zay-a100", 8, "the same 400 Gb/s per node"),
    Machine("", r"a100", "", "selene", 8, "network not stated"),
    Machine("", r"h100", "efa", "aws-p5", 8),
    Machine("", r"h100", "roce", "meta-h100-roce-24k", 8, "same RoCE bandwidth"),
    Machine("", r"h100", "ndr|infiniband", "dgx-h100-superpod", 8),
    Machine("", r"h100", "", "dgx-h100-superpod", 8, "network not stated"),
    Machine("", r"h200", "", "hgx-h200-cluster", 8),
    Machine("", r"b200", "", "hgx-b200-cluster", 8),
    Machine("", r"gb200", "", "gb200-nvl72-cluster", 4),
)
"""First match wins; the rules for one source come before those for any source."""


def cluster_settings(row: PublishedRow, num_devices: int) -> tuple[Settings, list[str]]:
    """The scenario's ``cluster`` with as many nodes as the plan needs, and what was assumed.

    Raises:
        CannotRunError: if no description of the accelerator exists.
    """
    machine = next((machine for machine in MACHINES if machine.matches(row)), None)
    if machine is None:
        gpu = row.text("gpu")
        raise CannotRunError(
            f"accelerator {gpu} is not in the catalogue" if gpu else "gpu is not stated"
        )
    notes = list[str]()
    # One node has no network, so that nothing was assumed about it.
    if machine.nearest and (num_devices > machine.devices_per_node or "form" in machine.nearest):
        notes.append(f"nearest machine {machine.cluster} ({machine.nearest})")
    nodes = ceil_div(num_devices, machine.devices_per_node)
    return {"preset": machine.cluster, "nodes": nodes}, notes
