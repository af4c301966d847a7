from collections.abc import Callable

import pytest

from simulator.published.machines import MACHINES, cluster_settings
from simulator.published.rows import CannotRunError, PublishedRow
from simulator.spec.hardware import load_cluster

MakeRow = Callable[..., PublishedRow]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: f"{m.source}-{m.gpu}-{m.network}")
def test_rules_name_clusters_of_the_catalogue(machine) -> None:
    assert load_cluster(machine.cluster).node.num_devices == machine.devices_per_node


@pytest.mark.parametrize(
    ("cells", "devices", "expected"),
    [
        ({"file": "kort"}, 64, {"preset": "selene", "nodes": 8}),
        ({"file": "megascale9"}, 2240, {"preset": "clos-a100-12288", "nodes": 280}),
        ({"file": "bloomA100"}, 384, {"preset": "jean-zay-a100", "nodes": 48}),
        (
            {"file": "bloomA100", "conditions": "before the PCI-Express/NUMA change of 02-25"},
            384,
            {"preset": "jean-zay-a100-2022-02", "nodes": 48},
        ),
        ({}, 12, {"preset": "dgx-a100-cluster", "nodes": 2}),
        ({"gpu": "A100-40GB"}, 8, {"preset": "dgx-a100-40gb-cluster", "nodes": 1}),
        ({"gpu": "A100", "gpu_mem_gb": "40"}, 8, {"preset": "dgx-a100-40gb-cluster", "nodes": 1}),
        ({"gpu": "V100-SXM3-32GB"}, 400, {"preset": "dgx-2-cluster", "nodes": 25}),
        ({"gpu": "H100-80GB-SXM"}, 16, {"preset": "dgx-h100-superpod", "nodes": 2}),
        (
            {"file": "repo-moorethreads-simumax", "gpu": "B200"},
            8,
            {"preset": "simumax-b200-cluster", "nodes": 1},
        ),
        ({"gpu": "GB200"}, 64, {"preset": "gb200-nvl72-cluster", "nodes": 1}),
        (
            {"gpu": "V100", "interconnect_intra": "DGX-2", "interconnect_inter": "single node"},
            8,
            {"preset": "dgx-2-cluster", "nodes": 1},
        ),
        ({"gpu": "TPUv4"}, 64, {"preset": "tpu-v4-pod", "nodes": 16}),
    ],
)
def test_cluster_and_nodes(
    make_row: MakeRow, cells: dict[str, str], devices: int, expected: dict[str, object]
) -> None:
    assert cluster_settings(make_row(**cells), devices)[0] == expected


def test_nic_count_of_the_row(make_row: MakeRow) -> None:
    row = make_row(interconnect_inter="800 Gb/s per node (4x HDR IB)", citation="table 1")
    settings, notes = cluster_settings(row, 32)
    assert notes == []
    node = load_cluster(settings).node
    assert (node.num_nics, node.nic_bytes_per_s) == (4, 25e9)  # 4 * 200 Gb/s


def test_racks_are_used_in_powers_of_two(make_row: MakeRow) -> None:
    """128 GB200 are two racks of which a job takes 64 each, with as many NICs."""
    settings, _ = cluster_settings(make_row(gpu="GB200"), 128)
    cluster = load_cluster(settings)
    assert (cluster.num_nodes, cluster.node.num_devices, cluster.node.num_nics) == (2, 64, 64)


def test_unstated_network_is_said(make_row: MakeRow) -> None:
    assert cluster_settings(make_row(), 16)[1] == ["network not stated: that of dgx-a100-cluster"]
    assert cluster_settings(make_row(), 8)[1] == []


@pytest.mark.parametrize(
    ("gpu", "reason"),
    [("P100", "no cluster of the catalogue has P100"), ("", "gpu is not stated")],
)
def test_unknown_accelerator(make_row: MakeRow, gpu: str, reason: str) -> None:
    with pytest.raises(CannotRunError, match=reason):
        cluster_settings(make_row(gpu=gpu), 8)


@pytest.mark.parametrize("gpu", ["H1000", "H100 PCIe", "H200-NVL", "A100-PCIe-40GB"])
def test_another_part_is_not_taken_for_the_module(make_row: MakeRow, gpu: str) -> None:
    with pytest.raises(CannotRunError, match=gpu):
        cluster_settings(make_row(gpu=gpu, gpu_mem_gb="80"), 8)
