"""Compares the cost functions with measured kernels: one ``Sample`` per group of rows.

The data lie beside this file; README.md says where they come from. Constants are those of the
shipped hardware descriptions, except between nodes, where they belong to the measured system.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from simulator.cost.attention import AttentionShape, attention_curve, flash_attention_s
from simulator.cost.collective import CollectiveKind, bus_bytes, collective_s
from simulator.cost.compute import Matmul, matmul_flops, matmul_s
from simulator.machine import CollectiveCurve, GroupLink, NetworkCurve
from simulator.numeric import BoolArray, FloatArray
from simulator.spec.hardware import load_accelerator, load_cluster, load_node

HERE = Path(__file__).parent
MIB = 2.0**20

NODES = {
    "a100-sxm4-80gb": "dgx-a100",
    "h100-sxm5-80gb": "dgx-h100",
    "h200-sxm-141gb": "dgx-h200",
    "b200-sxm-180gb": "hgx-b200",
    "b300-sxm-288gb": "hgx-b300",
    "gb200-186gb": "gb200-nvl72",
}
"""Node whose collective curve stands for an accelerator's fabric."""


@dataclass(frozen=True)
class Sample:
    """Measured and predicted times of one group of kernels."""

    subject: str
    subset: str
    measured_s: FloatArray
    predicted_s: FloatArray

    @property
    def errors(self) -> FloatArray:
        """Predicted over measured, minus one."""
        return self.predicted_s / self.measured_s - 1.0

    @property
    def mape(self) -> float:
        """Mean absolute relative error."""
        return float(np.abs(self.errors).mean())

    @property
    def bias(self) -> float:
        """Median relative error."""
        return float(np.median(self.errors))

    @property
    def sum_error(self) -> float:
        """Relative error of the summed time, which the long kernels rule."""
        return float(self.predicted_s.sum() / self.measured_s.sum() - 1.0)

    def where(self, rows: BoolArray, subset: str) -> Sample:
        """The sample of some of the rows."""
        return Sample(self.subject, subset, self.measured_s[rows], self.predicted_s[rows])


@dataclass(frozen=True)
class Table:
    """Columns of a CSV file, by name."""

    columns: dict[str, list[str]]

    @classmethod
    def read(cls, name: str) -> Table:
        with (HERE / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return cls({key: [row[key] for row in rows] for key in rows[0]})

    def numbers(self, name: str) -> FloatArray:
        """A numeric column; empty cells are nan."""
        return np.array([float(cell or "nan") for cell in self.columns[name]])

    def split(self, *names: str) -> list[tuple[tuple[str, ...], Table]]:
        """One table per distinct combination of text columns, in order of appearance."""
        keys = list(zip(*(self.columns[name] for name in names), strict=True))
        return [(key, self.where([k == key for k in keys])) for key in dict.fromkeys(keys)]

    def where(self, rows: list[bool]) -> Table:
        return Table(
            {
                name: [cell for cell, keep in zip(cells, rows, strict=True) if keep]
                for name, cells in self.columns.items()
            }
        )


def gemm_samples() -> list[Sample]:
    """Per accelerator: all shapes, those of training (m >= 2048), and those above 1 TFLOP."""
    samples: list[Sample] = []
    for (name, role), table in Table.read("gemm").split("accelerator", "role"):
        m, n, k, time_us = (table.numbers(c) for c in ("m", "n", "k", "time_us"))
        # microbenchmarks pause between kernels, so the droop depends on the kernel's length
        predicted = matmul_s(Matmul(m, n, k), load_accelerator(name), _half(name), steady=False)
        every = Sample(name, role, time_us * 1e-6, np.asarray(predicted))
        training = (m >= 2048) & (n >= 1024) & (k >= 1024)
        samples.append(every)
        samples.append(every.where(training, "m >= 2048, n and k >= 1024"))
        large = np.asarray(matmul_flops(m, n, k)) > 1e12
        if large.any():
            samples.append(every.where(large, "over 1 TFLOP"))
    return samples


def gemm_fp8_samples() -> list[Sample]:
    """Per accelerator and role: fp8 products of a chip that has run for thousands of them."""
    samples: list[Sample] = []
    for (name, role), table in Table.read("gemm_fp8").split("accelerator", "role"):
        m, n, k, tflops = (table.numbers(c) for c in ("m", "n", "k", "tflops"))
        shape = Matmul(m, n, k, element_bytes=1.0)
        predicted = np.asarray(matmul_s(shape, load_accelerator(name), "fp8", steady=True))
        measured = np.asarray(matmul_flops(m, n, k)) / (tflops * 1e12)
        samples.append(Sample(name, role, measured, predicted))
    return samples


def attention_samples() -> list[Sample]:
    """Per accelerator, kernel and head size: causal forward, all and those that fill the chip."""
    samples: list[Sample] = []
    split = Table.read("attention").split("accelerator", "kernel", "head_dim")
    for (name, kernel, head_dim), table in split:
        accelerator = load_accelerator(name)
        curve, _ = attention_curve(accelerator, kernel, int(head_dim))
        batch, heads, tokens = (table.numbers(c) for c in ("batch", "heads", "tokens"))
        shape = AttentionShape(batch, heads, tokens, tokens, int(head_dim))
        predicted = flash_attention_s(shape, curve, accelerator.num_sms, backward=False)
        subject = f"{name} {kernel} d={head_dim}"
        every = Sample(subject, "all", table.numbers("time_us") * 1e-6, np.asarray(predicted))
        full = (batch * heads >= 16) & (tokens >= 2048)
        samples += [every, every.where(full, "b h >= 16, s >= 2048")]
    return samples


def attention_figure_samples() -> list[Sample]:
    """FlashAttention's own figures: 16k tokens, hidden size 2048, per kernel, mask, direction."""
    samples: list[Sample] = []
    split = Table.read("attention_figures").split(
        "accelerator", "kernel", "head_dim", "causal", "direction"
    )
    for (name, kernel, head_dim, mask, direction), table in split:
        accelerator = load_accelerator(name)
        curve, _ = attention_curve(accelerator, kernel, int(head_dim))
        tokens = table.numbers("tokens")
        heads = 2048 / int(head_dim)
        shape = AttentionShape(
            16384 / tokens, heads, tokens, tokens, int(head_dim), mask == "causal"
        )
        passes = {"forward": (False,), "backward": (True,), "both": (False, True)}[direction]
        predicted = sum(
            np.asarray(flash_attention_s(shape, curve, accelerator.num_sms, backward=b))
            for b in passes
        )
        # their convention: 4 s^2 h d, half if causal, 2.5 times for the backward pass
        flops = 4.0 * 16384 * tokens * 2048 * (0.5 if mask == "causal" else 1.0)
        flops = flops * {"forward": 1.0, "backward": 2.5, "both": 3.5}[direction]
        measured = flops / (table.numbers("tflops") * 1e12)
        subject = f"{name} {kernel} d={head_dim}"
        samples.append(Sample(subject, f"{mask}, {direction}", measured, np.asarray(predicted)))
    return samples


def memory_bound_samples() -> list[Sample]:
    """Per accelerator: the kernels of vidur for which a curve exists, tensors over 4 MB."""
    samples: list[Sample] = []
    curves = {"add": "add", "input_layernorm": "rmsnorm", "mlp_act": "swiglu"}
    for (name, kernel), table in Table.read("memory_bound").split("accelerator", "kernel"):
        accelerator = load_accelerator(name)
        fraction = accelerator.memory.fraction[curves[kernel]]
        num_bytes = table.numbers("bytes")
        busy_s = num_bytes / (fraction * accelerator.memory_bandwidth_bytes_per_s)
        predicted = accelerator.memory.launch_s + busy_s
        every = Sample(f"{name} {kernel}", "all", table.numbers("time_us") * 1e-6, predicted)
        samples += [every, every.where(num_bytes > 1e8, "over 100 MB")]
    return samples


def node_collective_samples() -> list[Sample]:
    """Per accelerator and kind: collectives inside a node, all sizes and from 1 MiB."""
    samples: list[Sample] = []
    for (name, kind), table in Table.read("collective_node").split("accelerator", "kind"):
        curve = load_node(NODES[name]).collectives
        ranks, payload = table.numbers("ranks"), table.numbers("bytes")
        predicted = np.asarray(collective_s(_kind(kind), payload, node_link(curve, ranks)))
        every = Sample(f"{name} {kind}", "all", table.numbers("time_us") * 1e-6, predicted)
        samples += [every, every.where(payload >= MIB, "1 MiB and more")]
    return samples


@dataclass(frozen=True)
class System:
    """A cluster whose all-reduce between nodes was measured; constants fitted on it."""

    accelerator: str
    network_bytes_per_s: float
    curve: NetworkCurve


def network(
    base_us: float,
    hop_us: float,
    fill_us_per_mb: float,
    fill_us: float,
    ring_us: float,
    eager_us_per_kb: float = 0.0,
    handshake_us: float = 0.0,
) -> NetworkCurve:
    """Constants between nodes, in microseconds (fill: per MB, and its cap; eager: per kB)."""
    return NetworkCurve(
        1.0, base_us * 1e-6, hop_us * 1e-6, fill_us_per_mb * 1e-12, fill_us * 1e-6, ring_us * 1e-6,
        ring_us * 1e-6,
        eager_s_per_byte=eager_us_per_kb * 1e-9,
        handshake_s=handshake_us * 1e-6,
        two_node_trees=handshake_us > 0.0,  # EFA: its tuner takes trees
    )  # fmt: skip


SYSTEMS = {
    "h100-nvlstree": System("h100-sxm5-80gb", 371e9, network(32.2, 19.7, 2.06, 23.1, 10.9)),
    "h100-default": System("h100-sxm5-80gb", 345e9, network(31.9, 20.3, 2.29, 25.8, 15.7)),
    "p5": System("h100-sxm5-80gb", 360e9, network(45.7, 12.0, 3.48, 97.0, 25.0, 0.644, 23.0)),
    "p4de": System("a100-sxm4-80gb", 41.1e9, network(106.9, 30.0, 38.3, 183.7, 30.0, 0.754, 24.7)),
    "p6-b200": System("b200-sxm-180gb", 387e9, network(274.0, 25.0, 1.19, 46.2, 15.0)),
}
"""The first two are fitted on rows of at most 32 nodes, p5 and p4de on every second size
(fit_network.py), p6-b200 on all its rows."""

FITTED_NODES = 32

SHIPPED = {
    "h100-nvlstree": "dgx-h100-superpod",
    "p5": "aws-p5-cluster",
    "p4de": "aws-p4de-cluster",
}
"""Clusters whose constants were fitted on all rows of a system."""


def shipped(name: str) -> str:
    """How the samples call the shipped cluster of a system."""
    return f"{name}, {SHIPPED[name]}.yaml"


def fitted_rows(name: str, nodes: FloatArray, payload: FloatArray) -> BoolArray:
    """Rows on which the constants of ``SYSTEMS`` are fitted; the others are held out.

    Up to ``FITTED_NODES`` nodes; of the two EFA systems 8 B and every second power of two from
    2 KiB.
    """
    if name in ("p5", "p4de"):
        return np.round(np.log2(payload)) % 2 == 1
    return nodes <= FITTED_NODES


def shipped_system(preset: str) -> System:
    """A system with the constants of a shipped cluster."""
    cluster = load_cluster(preset)
    rate = cluster.network.bandwidth_fraction * cluster.node.num_nics * cluster.node.nic_bytes_per_s
    return System(cluster.node.accelerator.name, rate, cluster.network)


def network_collective_samples() -> list[Sample]:
    """All-reduce between nodes: all rows of a system, by size, those held out, the repeat."""
    samples: list[Sample] = []
    tables = dict(Table.read("collective_network").split("system"))
    for name, system in SYSTEMS.items():
        samples += _network_samples(name, system, tables[(name,)])
    for name, preset in SHIPPED.items():
        every, *parts = _network_samples(name, shipped_system(preset), tables[(name,)])
        large = next(part for part in parts if part.subset == LARGE)
        samples += [replace(sample, subject=shipped(name)) for sample in (every, large)]
    return samples


LARGE = "64 MiB and more"
MEASURED_APART = 256 * 2.0**10
"""The first three rows of p6-b200, 32 to 128 KiB, are slower than 2 MiB: a start that shows."""


def _network_samples(name: str, system: System, table: Table) -> list[Sample]:
    nodes, ranks, payload = (table.numbers(c) for c in ("nodes", "ranks", "bytes"))
    from_bus_s = np.asarray(bus_bytes("all_reduce", payload, ranks)) / (
        table.numbers("bus_gb_per_s") * 1e9
    )
    time_us = table.numbers("time_us")
    measured = np.where(np.isnan(time_us), from_bus_s, time_us * 1e-6)
    link = network_link(system, nodes, ranks)
    predicted = np.asarray(collective_s("all_reduce", payload, link))
    every = Sample(name, "all", measured, predicted)
    samples = [every, every.where(payload >= 64 * MIB, LARGE)]
    if nodes.max() > FITTED_NODES:
        beyond = f"extrapolated: over {FITTED_NODES} nodes"
        samples.append(every.where(nodes > FITTED_NODES, beyond))
        return samples
    samples.append(every.where((payload >= MIB) & (payload < 64 * MIB), "1 to 32 MiB"))
    samples.append(every.where(payload < MIB, "up to 512 KiB"))
    if name == "p6-b200":
        return [*samples, every.where(payload >= MEASURED_APART, "256 KiB and more")]
    samples.append(every.where(~fitted_rows(name, nodes, payload), "held out: every second size"))
    repeat = Sample(
        name, "the measured repeat, in place", measured, table.numbers("repeat_us") * 1e-6
    )
    return [*samples, repeat]


def node_link(curve: CollectiveCurve, size: FloatArray) -> GroupLink:
    """The link of groups that lie in one node."""
    single = NetworkCurve(1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return _link(curve, single, np.inf, np.ones_like(size), size)


def network_link(system: System, nodes: FloatArray, ranks: FloatArray) -> GroupLink:
    """The link of groups that fill their nodes."""
    node = load_node(NODES[system.accelerator])
    return _link(node.collectives, system.curve, system.network_bytes_per_s, nodes, ranks)


def _link(
    curve: CollectiveCurve,
    between: NetworkCurve,
    network_bytes_per_s: float,
    nodes: FloatArray,
    ranks: FloatArray,
) -> GroupLink:
    local = ranks / nodes
    small = _at(curve.small_group_factor, local)
    tree = curve.in_network
    reduces = local >= curve.in_network_min_size
    exchange = _at(curve.all_to_all_factor, local) if curve.all_to_all_factor else 1.0
    peers = np.maximum(local - 1.0, 1.0) if curve.all_to_all_per_peer else 1.0
    ramp = curve.all_to_all_ramp
    return GroupLink(
        size=ranks,
        num_nodes=nodes,
        ll_base_s=curve.ll.base_s,
        ll_hop_s=curve.ll.hop_s,
        ll_bytes_per_s=curve.ll.bandwidth_bytes_per_s * small,
        ll128_base_s=curve.ll128.base_s,
        ll128_hop_s=curve.ll128.hop_s,
        ll128_bytes_per_s=curve.ll128.bandwidth_bytes_per_s * small,
        simple_base_s=curve.simple.base_s,
        simple_hop_s=curve.simple.hop_s,
        ring_bytes_per_s=_at(curve.ring_bytes_per_s, local),
        all_reduce_bytes_per_s=_at(curve.all_reduce_bytes_per_s, local),
        in_network_base_s=tree.base_s if tree else 0.0,
        in_network_bytes_per_s=np.where(reduces, tree.bandwidth_bytes_per_s if tree else 0.0, 0.0),
        all_to_all_base_s=curve.all_to_all.base_s,
        all_to_all_hop_s=curve.all_to_all.hop_s,
        all_to_all_bytes_per_s=exchange * curve.all_to_all.bandwidth_bytes_per_s,
        all_to_all_small_base_s=curve.all_to_all_small.base_s,
        all_to_all_small_bytes_per_s=peers * curve.all_to_all_small.bandwidth_bytes_per_s,
        network_bytes_per_s=network_bytes_per_s,
        network_exchange_bytes_per_s=network_bytes_per_s,
        network_base_s=between.base_s,
        network_hop_s=between.hop_s,
        network_chunk_s_per_byte=between.chunk_s_per_byte,
        network_chunk_s=between.chunk_s,
        network_ring_hop_s=between.ring_hop_s,
        network_message_s=between.message_s,
        network_two_node_trees=float(between.two_node_trees),
        network_eager_s_per_byte=between.eager_s_per_byte,
        network_handshake_s=between.handshake_s,
        all_to_all_ramp_base_s=ramp.base_s if ramp else np.inf,
        all_to_all_ramp_bytes_per_s=exchange * ramp.bandwidth_bytes_per_s if ramp else np.inf,
    )


def _at(by_size: dict[int, float], size: FloatArray) -> FloatArray:
    sizes = sorted(by_size)
    return np.interp(size, sizes, [by_size[s] for s in sizes])


def _half(name: str) -> str:
    peaks = load_accelerator(name).peak_flops_per_s
    return "bf16" if "bf16" in peaks else "fp16"


def _kind(name: str) -> CollectiveKind:
    kinds: dict[str, CollectiveKind] = {
        "all_reduce": "all_reduce",
        "all_gather": "all_gather",
        "reduce_scatter": "reduce_scatter",
        "all_to_all": "all_to_all",
    }
    return kinds[name]
