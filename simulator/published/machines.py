"""Finds the cluster description on which a row runs, by source, accelerator and network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from simulator.numeric import ceil_div
from simulator.published.families import Settings
from simulator.published.rows import CannotRunError, PublishedRow
from simulator.spec.hardware import load_cluster

_FORM: Final = re.compile(r"pcie|nvl(?!72)")
"""Words of parts with other clocks and links than the modules of the same name."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One rule: rows whose columns match run on ``cluster``.

    Attributes:
        source: matches the beginning of the file stem.
        gpu: matches the beginning of the lower-case ``gpu`` column and the memory, ``a100 80``, up
            to no digit: an H1000 is no H100.
        network: found in the lower-case ``interconnect_inter`` column, or in
            ``interconnect_intra`` where the former says that there is one node only.
        devices_per_node: of the cluster's node.
        nearest: what differs where this is only the nearest description, else empty.
        num_nics: NICs per node where the row's machine has another number than the cluster's.
        used_per_node: devices a job takes of each node where it spans several nodes and cannot
            fill them (racks of 72, of which jobs in powers of two take 64).
        conditions: found in the lower-case ``conditions`` column.
    """

    source: str
    gpu: str
    network: str
    cluster: str
    devices_per_node: int = 8
    nearest: str = ""
    num_nics: int | None = None
    used_per_node: int | None = None
    conditions: str = ""

    def matches(self, row: PublishedRow) -> bool:
        """Whether the rule is for this row."""
        memory = row.number("gpu_mem_gb")
        gpu = f"{row.lower('gpu')} {memory:g}" if memory else f"{row.lower('gpu')} "
        other_part = _FORM.search(gpu)
        if other_part and other_part[0] not in self.gpu:
            return False
        return (
            re.match(self.source, row.source) is not None
            and re.match(rf"(?:{self.gpu})(?!\d)", gpu) is not None
            and re.search(self.network, _interconnect(row)) is not None
            and self.conditions in row.lower("conditions")
        )


def _interconnect(row: PublishedRow) -> str:
    between = row.lower("interconnect_inter")
    return row.lower("interconnect_intra") if between == "single node" else between


_A100_40: Final = r"a100-(sxm4-)?40gb|a100 40"

MACHINES: Final = (
    Machine("sc21|kort|mtnlg", r"a100", "", "selene"),
    Machine("megascale", r"a100", "", "clos-a100-12288"),
    Machine(
        "bloomA100", r"a100", "", "jean-zay-a100-2022-02", conditions="before the pci-express/numa"
    ),
    Machine("bloomA100", r"a100", "", "jean-zay-a100"),
    Machine("bsGPT2", r"v100-32gb", "", "dgx-1v-cluster", nearest="4 of the 8 devices of a node"),
    Machine("azure", r"a100", "", "azure-ndmv4-cluster"),
    Machine("llama3", r"h100", "", "meta-h100-roce-24k"),
    Machine("1bit", r"v100", "tcp", "v100-4-pcie-tcp-cluster", devices_per_node=4),
    Machine("1bit", r"v100", "ib", "v100-4-pcie-ib-cluster", devices_per_node=4),
    Machine("repo-oneflow-inc-dlperf", r"v100", "", "dlperf-v100-cluster"),
    # Its devices name themselves Tesla V100-SXM2-32GB-LS (projects/gpt/throughput_results.csv).
    Machine("repo-languini", r"v100", "", "dgx-1v-max-q-cluster"),
    Machine("repo-moorethreads-simumax", r"b200", "", "simumax-b200-cluster"),
    Machine("", r"mi250x", "", "frontier"),
    Machine("", r"mi300x", "", "mi300x-cluster"),
    Machine("", r"tpuv3", "", "tpu-v3-pod", 4),
    Machine("", r"tpuv4", "", "tpu-v4-pod", 4),
    Machine("", r"tpuv5e", "", "tpu-v5e-pod", 4),
    Machine("", r"tpuv5p", "", "tpu-v5p-pod", 4),
    Machine("", r"tpuv6e", "", "tpu-v6e-pod", 4),
    Machine("", r"rtx ?3090", "", "pcie-8xrtx3090-cluster"),
    Machine("", r"rtx ?4090", "", "pcie-8xrtx4090-cluster"),
    Machine("", r"l40s", "", "l40s-8-cluster"),
    Machine("", r"a10g", "", "a10g-8-cluster"),
    Machine("", r"v100-sxm3", "", "dgx-2-cluster", 16),
    Machine("", r"v100", "dgx-?2", "dgx-2-cluster", 16),
    Machine("", r"v100(-16gb)? 16", "", "dgx-1v-16gb-cluster"),
    Machine("", r"v100", "", "dgx-1v-cluster"),
    Machine("", _A100_40, "efa", "aws-p4d-cluster"),
    Machine("", _A100_40, "4x hdr", "dgx-a100-40gb-cluster", num_nics=4),
    Machine("", _A100_40, "", "dgx-a100-40gb-cluster"),
    Machine("", r"a100", "selene", "selene"),
    Machine("", r"a100", "4x ?hdr", "dgx-a100-cluster", num_nics=4),
    Machine("", r"a100", "efa", "aws-p4de-cluster"),
    Machine("", r"a100", r"4x100|400 ?gb", "dgx-a100-cluster", 8, "2 x 200 Gb/s for 400", 2),
    Machine("", r"a100", "roce", "clos-a100-12288", nearest="the same NICs, RoCE"),
    Machine("", r"a100", "", "dgx-a100-cluster"),
    Machine("", r"a800", "4x100", "a800-cluster", num_nics=2),
    Machine("", r"a800", "", "a800-cluster"),
    Machine("", r"h100", "efa", "aws-p5-cluster"),
    Machine("", r"h100", r"800 ?gb", "dgx-h100-superpod", 8, "2 x 400 Gb/s for 800", 2),
    Machine("", r"h100", "roce", "meta-h100-roce-24k", nearest="the same NICs, RoCE"),
    Machine("", r"h100", "", "dgx-h100-superpod"),
    Machine("", r"h800", "", "h800-cluster"),
    Machine("", r"h200", "", "dgx-h200-cluster"),
    Machine("", r"b200", "", "hgx-b200-cluster"),
    Machine("", r"b300", "", "hgx-b300-cluster"),
    Machine("", r"gb200", "", "gb200-nvl72-cluster", 72, used_per_node=64),
    Machine("", r"gb300", "", "gb300-nvl72-cluster", 72, used_per_node=64),
)
"""First match wins; the rules for one source come before those for any source."""


def cluster_settings(row: PublishedRow, num_devices: int) -> tuple[Settings, list[str]]:
    """The scenario's ``cluster`` with as many nodes as the plan needs, and what was assumed.

    Raises:
        CannotRunError: if no description of the accelerator exists.
    """
    if row.lower("gpu").startswith("tpu") and "dcn" in row.lower("interconnect_inter"):
        raise CannotRunError("TPU slices joined by the data-center network are not modelled")
    machine = next((machine for machine in MACHINES if machine.matches(row)), None)
    if machine is None:
        gpu = row.text("gpu")
        raise CannotRunError(
            f"no cluster of the catalogue has {gpu}" if gpu else "gpu is not stated"
        )
    # One node has no network, so that nothing is assumed about it.
    if num_devices <= machine.devices_per_node:
        return {"preset": machine.cluster, "nodes": 1}, []
    notes = list[str]()
    if machine.nearest:
        notes.append(f"nearest machine {machine.cluster} ({machine.nearest})")
    elif not row.text("interconnect_inter"):
        notes.append(f"network not stated: that of {machine.cluster}")
    used = machine.used_per_node or machine.devices_per_node
    nodes = ceil_div(num_devices, used)
    if machine.num_nics is None and machine.used_per_node is None:
        return {"preset": machine.cluster, "nodes": nodes}, notes
    return _changed(machine, row, used, nodes), notes


def _changed(machine: Machine, row: PublishedRow, used: int, nodes: int) -> Settings:
    """The cluster with another number of NICs or of devices per node."""
    source = row.text("citation") or row.where

    def count(value: int) -> Settings:
        return {"value": value, "source": source}

    node = load_cluster(machine.cluster).node
    changes: Settings = {"extends": node.name, "num_devices": count(used)}
    nics = machine.num_nics or node.num_nics * used // machine.devices_per_node
    changes["nics"] = {"count": count(nics)}
    return {"extends": machine.cluster, "node": changes, "num_nodes": count(nodes)}
