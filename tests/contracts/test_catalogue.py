"""Every shipped accelerator, node and cluster: sources, plausibility, and a sound graph."""

from __future__ import annotations

import math
from collections.abc import Iterator

import networkx as nx
import pytest

from simulator.plan import ProcessGroup
from simulator.spec.accelerators import MEMORY_KERNELS
from simulator.spec.hardware import load_accelerator, load_cluster, load_node
from simulator.spec.yaml_file import find_data, list_data, read_yaml
from simulator.topology import Topology

ACCELERATORS = list_data("accelerators")
NODES = list_data("nodes")
CLUSTERS = list_data("clusters")
FILES = [(kind, name) for kind in ("accelerators", "nodes", "clusters") for name in list_data(kind)]
TORUS = [name for name in CLUSTERS if name.startswith("tpu")]


def figures(value: object, path: str = "", covered: bool = False) -> Iterator[tuple[str, bool]]:
    """Every number or quantity of a file, and whether a source stands beside or above it."""
    if isinstance(value, dict):
        inside = covered or bool(str(value.get("source", "")).strip())
        for key, item in value.items():
            if key not in {"source", "name", "assumptions"}:
                yield from figures(item, f"{path}.{key}", inside)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from figures(item, f"{path}[{i}]", covered)
    elif isinstance(value, (int, float)) or (isinstance(value, str) and value[:1].isdigit()):
        yield path, covered


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_every_figure_has_a_source(kind, name):
    found = list(figures(read_yaml(find_data(kind, name))))
    assert [path for path, covered in found if not covered] == []


def test_a_figure_without_a_source_is_found():
    assert list(figures({"power": {"value": "400 W"}})) == [(".power.value", False)]


@pytest.mark.parametrize("name", ACCELERATORS)
def test_accelerator_is_plausible(name):
    a = load_accelerator(name)
    half = a.peak_flops_per_s.get("bf16", a.peak_flops_per_s.get("fp16", 0))
    assert 5e13 < half < 3e15
    assert a.peak_flops_per_s.get("fp8", 2 * half) == pytest.approx(2 * half, rel=0.02)
    assert 14 * 2**30 < a.memory_bytes < 300 * 2**30
    # Ridge point: FLOPs per byte of DRAM at which compute and memory take equally long.
    assert 50 < half / a.memory_bandwidth_bytes_per_s < 600
    assert a.architecture
    assert set(a.memory.fraction) == set(MEMORY_KERNELS)
    assert a.assumptions


@pytest.mark.parametrize("name", ACCELERATORS)
def test_attention_stays_below_the_peak_and_grows_with_the_kernel(name):
    a = load_accelerator(name)
    peak = a.peak_flops_per_s.get("bf16", a.peak_flops_per_s.get("fp16", 0))
    for points in a.attention.values():
        rates = [points[dim].forward_flops_per_s for dim in sorted(points)]
        assert rates == sorted(rates)
        assert rates[-1] < 0.8 * peak
    for older, newer in (("flash1", "flash2"), ("flash2", "flash3")):
        for dim, point in a.attention.get(older, {}).items():
            better = a.attention.get(newer, {}).get(dim)
            assert better is None or better.forward_flops_per_s > point.forward_flops_per_s


DENSE_PEAKS = {
    "v100-sxm2-32gb": ("fp16", 125e12),
    "a100-sxm4-80gb": ("bf16", 312e12),
    "h100-sxm5-80gb": ("bf16", 989.4e12),
    "h800-sxm5-80gb": ("bf16", 989.4e12),
    "h200-sxm-141gb": ("bf16", 989.4e12),
    "b200-sxm-180gb": ("bf16", 2250e12),
    "gb200-186gb": ("bf16", 2500e12),
    "mi250x-gcd": ("fp16", 191.5e12),
    "mi300x-192gb": ("bf16", 1307.4e12),
    "tpu-v4": ("bf16", 275e12),
    "rtx3090-24gb": ("bf16", 71e12),
    "rtx4090-24gb": ("bf16", 165.2e12),
}
"""Dense peaks of the vendors' datasheets; a sparse figure would be twice as high."""


@pytest.mark.parametrize("name", DENSE_PEAKS)
def test_peaks_are_dense(name):
    precision, peak = DENSE_PEAKS[name]
    assert load_accelerator(name).peak_flops_per_s[precision] == peak


def test_volta_has_no_flash_attention():
    for name in ("v100-sxm2-16gb", "v100-sxm2-32gb", "v100-sxm3-32gb"):
        assert load_accelerator(name).attention == {}
        assert "bf16" not in load_accelerator(name).peak_flops_per_s


@pytest.mark.parametrize("name", NODES)
def test_node_graph_is_whole(name):
    node = load_node(name)
    graph = Topology.of(load_cluster_of(name)).node_graph()
    assert nx.is_connected(graph)
    for kind, count in (("gpu", node.num_devices), ("nic", node.num_nics)):
        assert sum(part.startswith(kind) for part in graph) == count
    devices = [f"gpu{i}" for i in range(node.num_devices)]
    # All devices of a node have the same links, except where NICs hang on some of them.
    widths = {
        sum(d["bandwidth"] for _, b, d in graph.edges(gpu, data=True) if not b.startswith("nic"))
        for gpu in devices
    }
    assert max(widths) <= 1.6 * min(widths)


def load_cluster_of(node_name):
    """A cluster of one node of a kind."""
    zero = {"source": "test"}
    return load_cluster(
        {
            "node": node_name,
            "num_nodes": {"value": 1} | zero,
            "network": zero
            | {"bandwidth_fraction": 0.9, "base": "1 us", "hop": "1 us", "ring_hop": "1 us"}
            | {"fill_bandwidth": "1 GB/s", "fill_max": "1 us", "message": "1 us"},
        }
    )


@pytest.mark.parametrize("name", NODES)
def test_node_curves_respect_the_links(name):
    node = load_node(name)
    curve = node.collectives
    into_device = sum(
        e.bandwidth_bytes_per_s
        for e in node.edges
        if "gpu0" in (e.a, e.b) and not {e.a[:3], e.b[:3]} & {"cpu", "pci", "nic"}
    )
    host_only = into_device == 0
    limit = node.host_link_bytes_per_s if host_only else into_device
    for rates in (curve.ring_bytes_per_s, curve.all_reduce_bytes_per_s):
        assert max(rates.values()) <= limit
        assert set(rates) <= set(range(2, node.num_devices + 1))
    # Reduction in the switch sends every byte once where a ring sends it nearly twice.
    assert curve.in_network is None or curve.in_network.bandwidth_bytes_per_s <= 2 * limit
    # A simulated ring without protocols has one line for all three.
    assert curve.ll.bandwidth_bytes_per_s <= curve.ll128.bandwidth_bytes_per_s
    assert curve.ll.base_s <= curve.ll128.base_s <= curve.simple.base_s


@pytest.mark.parametrize("name", NODES)
def test_host_copies_fit_the_memory(name):
    node = load_node(name)
    assert node.host_memory is not None
    assert node.host_memory.read_bytes_per_s > node.host_link_bytes_per_s
    assert node.power_w > node.num_devices * 0.5 * node.accelerator.power_w


BISECTION = {  # GB/s per direction between devices 0..n/2-1 and the others, by hand
    "dgx-a100": 4 * 300,  # every device of a half sends 300 through the switch
    "dgx-h100": 4 * 450,
    "dgx-1v": 25 * 6,  # 0-4 and 1-5 double, 2-6 and 3-7 single
    "frontier": 50 * (2 + 1 + 1 + 2),  # 0-6 double, 1-5, 3-7 single, 2-4 double
    "mi300x-8": 64 * 4 * 4,  # each of 4 joined to each of the other 4
}


@pytest.mark.parametrize("name", BISECTION)
def test_bisection(name):
    node = load_node(name)
    graph = nx.DiGraph()
    for edge in node.edges:
        if not {edge.a[:3], edge.b[:3]} & {"cpu", "pci", "nic"}:
            graph.add_edge(edge.a, edge.b, capacity=edge.bandwidth_bytes_per_s)
            graph.add_edge(edge.b, edge.a, capacity=edge.bandwidth_bytes_per_s)
    half = node.num_devices // 2
    for i in range(node.num_devices):
        graph.add_edge(*(("s", f"gpu{i}") if i < half else (f"gpu{i}", "t")))
    flow = nx.maximum_flow_value(graph, "s", "t")
    assert flow == pytest.approx(BISECTION[name] * 1e9)


@pytest.mark.parametrize("name", CLUSTERS)
def test_cluster_serves_every_group(name):
    cluster = load_cluster(name)
    topology = Topology.of(cluster)
    per_node = cluster.node.num_devices
    for size, stride in ((2, 1), (per_node, 1), (cluster.num_nodes, per_node)):
        link = topology.group_link(ProcessGroup("dp", size, stride))
        assert link.size == size
        assert link.ring_bytes_per_s > 0
        assert link.network_bytes_per_s > 0
        assert (link.num_nodes == 1) == math.isinf(float(link.network_bytes_per_s))
    for rank in (1, cluster.num_devices - 1):
        path = topology.path(0, rank)
        assert 1e8 < path.bandwidth_bytes_per_s < 1e12
        assert 0 < path.latency_s < 1e-3


@pytest.mark.parametrize("name", CLUSTERS)
def test_cluster_graph_is_connected(name):
    cluster = load_cluster(name)
    graph = Topology.of(cluster).cluster_graph(max_nodes=3)
    assert nx.is_connected(graph)
    switches = {part for part in graph if not part.startswith("node")}
    assert len(switches) >= len(cluster.tiers)


@pytest.mark.parametrize("name", [n for n in CLUSTERS if n not in TORUS])
def test_top_tier_spans_the_cluster(name):
    for num_nodes in (1, min(2, load_cluster(name).num_nodes), None):
        cluster = load_cluster(name, num_nodes=num_nodes)
        assert cluster.tiers[-1].nodes_per_group >= cluster.num_nodes
        assert all(t.nodes_per_group < cluster.num_nodes for t in cluster.tiers[:-1])


@pytest.mark.parametrize("name", TORUS)
def test_torus_holds_the_pod(name):
    cluster = load_cluster(name)
    assert cluster.torus is not None
    assert math.prod(cluster.torus.shape) == cluster.num_devices
    assert all(cluster.torus.wraps)
