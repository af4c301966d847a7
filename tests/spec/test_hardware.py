"""Loading accelerators, nodes and clusters: presets, the user's own files, and what is refused."""

from __future__ import annotations

import copy
import textwrap

import pytest

from simulator.errors import SpecError, UnknownNameError
from simulator.spec.clusters import slice_shape
from simulator.spec.hardware import load_accelerator, load_cluster, load_node, merge
from simulator.spec.yaml_file import find_data, list_data, read_yaml
from simulator.topology import Topology


def raw(kind, name):
    return copy.deepcopy(read_yaml(find_data(kind, name)))


def reaching(nodes: int, **more: object) -> list[tuple[str, str]]:
    """What is assumed of tiers of a cluster whose top one holds 16 nodes."""
    tier = {"oversubscription": 2, "hop": "1 us", "source": "test"}
    tiers = [{**tier, "name": "leaf", "nodes_per_group": 4}]
    tiers.append({**tier, "name": "spine", "nodes_per_group": 16})
    own = {"extends": "dgx-h100-superpod", "tiers": tiers, **more}
    found = load_cluster(own, num_nodes=nodes).assumptions
    return [(one.value, one.source) for one in found if one.name == "tiers of all nodes"]


def test_a_top_tier_that_is_too_small_is_said() -> None:
    assert reaching(16) == []
    assert reaching(24) == [
        (
            "spine joins all 24 nodes at its oversubscription",
            "no tier above spine, which is of 16 nodes",
        )
    ]
    assert reaching(24, tiers=[]) == [
        ("one network of full bisection joins all 24 nodes", "no tiers given")
    ]
    assert reaching(1, tiers=[]) == []


def test_tiers_of_a_site_reach_over_the_site() -> None:
    def wan(nodes: int) -> dict[str, object]:
        figures = {"nodes_per_site": nodes, "bandwidth": "1 GB/s", "latency": "1 ms"}
        return {"kind": "wan"} | {k: {"value": v, "source": "test"} for k, v in figures.items()}

    assert reaching(64, fabric=wan(16)) == []
    assert "joins all 32 nodes" in reaching(64, fabric=wan(32))[0][0]


@pytest.mark.parametrize("name", list_data("clusters"))
def test_shipped_tiers_reach_over_all_nodes(name: str) -> None:
    assert "tiers of all nodes" not in {one.name for one in load_cluster(name).assumptions}


def test_accelerator_in_si_units():
    a = load_accelerator("a100-sxm4-80gb")
    assert a.name == "a100-sxm4-80gb"
    assert a.num_sms == 108
    assert a.peak_flops_per_s["bf16"] == 312e12
    assert a.memory_bandwidth_bytes_per_s == 2039e9
    assert a.memory_bytes == 79.15 * 2**30
    assert a.gemm.droop_s == pytest.approx(1.124e-3)
    assert a.attention["flash2"][128].forward_flops_per_s == 204e12


def test_extends_replaces_whole_blocks():
    base = load_accelerator("a100-sxm4-80gb")
    small = load_accelerator("a100-sxm4-40gb")
    assert small.name == "a100-sxm4-40gb"
    assert small.memory_bandwidth_bytes_per_s == 1555e9
    assert small.gemm == base.gemm
    assert small.memory.fraction["add"] == 0.83


def test_merge():
    base = {"a": {"x": 1, "y": 2}, "b": {"value": 1, "source": "s"}, "c": 3}
    own = {"a": {"y": 5}, "b": {"value": 2}, "c": None}
    # b would take value 2 under the old source if blocks with a source merged.
    assert merge(base, own) == {"a": {"x": 1, "y": 5}, "b": {"value": 2}}
    assert base["c"] == 3


def test_a_value_without_its_own_source_is_refused():
    data = {"extends": "a100-sxm4-80gb", "power": {"value": "500 W"}}
    with pytest.raises(SpecError, match="'source' is missing") as caught:
        load_accelerator(data)
    assert "power.source" in caught.value.where


def test_presets_are_read_once():
    assert load_cluster("selene", num_nodes=8) is load_cluster("selene", num_nodes=8)


def test_node_graph_of_dgx_a100():
    node = load_node("dgx-a100")
    edges = {(e.a, e.b): e.bandwidth_bytes_per_s for e in node.edges}
    assert edges["gpu7", "switch0"] == 300e9
    # 8 GPUs and 8 NICs on 4 PCIe switches, 2 switches on each socket.
    assert {b for a, b in edges if a == "gpu5"} == {"switch0", "pcie2"}
    assert {b for a, b in edges if a == "nic5"} == {"pcie2"}
    assert ("pcie2", "cpu1") in edges
    assert ("cpu0", "cpu1") in edges


def test_cluster_keeps_the_tiers_it_needs():
    assert [t.name for t in load_cluster("selene").tiers] == ["leaf", "spine", "core"]
    few = load_cluster("selene", num_nodes=8)
    assert [(t.name, t.nodes_per_group) for t in few.tiers] == [("leaf", 20)]
    assert few.num_devices == 64


def test_slice_of_a_pod_is_the_most_cubic_box():
    assert slice_shape(256, (16, 16, 16)) == (4, 8, 8)
    assert slice_shape(64, (16, 16)) == (8, 8)
    assert load_cluster("tpu-v4-pod", num_nodes=64).torus.wraps == (True, True, True)
    # An 8 x 8 slice of v5e has no wrap links: only a full axis of 16 has.
    assert load_cluster("tpu-v5e-pod", num_nodes=16).torus.wraps == (False, False)
    with pytest.raises(SpecError, match="form no box"):
        slice_shape(17, (16, 16))


OWN_ACCELERATOR = """
    extends: h100-sxm5-80gb
    memory: {value: "96 GiB", source: our order}
"""
OWN_NODE = """
    extends: dgx-h100
    accelerator: big.yaml
    nics:
      count: {value: 4, source: our order}
"""
OWN_CLUSTER = """
    extends: dgx-h100-superpod
    node: {extends: box.yaml, num_devices: {value: 4, source: our order}}
    num_nodes: {value: 3000, source: our order}
"""


@pytest.fixture
def own(tmp_path):
    for name, text in (("big", OWN_ACCELERATOR), ("box", OWN_NODE), ("ours", OWN_CLUSTER)):
        (tmp_path / f"{name}.yaml").write_text(textwrap.dedent(text))
    return tmp_path


def test_own_files_work_like_shipped_ones(own):
    cluster = load_cluster(own / "ours.yaml")
    assert cluster.name == "ours"
    assert cluster.num_devices == 12_000
    assert cluster.node.num_nics == 4
    assert cluster.node.accelerator.name == "big"
    assert cluster.node.accelerator.memory_bytes == 96 * 2**30
    assert cluster.tiers[-1].nodes_per_group == 3000
    assert Topology.of(cluster).nic_bytes_per_s == (50e9,) * 4


def test_own_files_are_found_by_name_and_by_path(own):
    by_name = load_cluster("ours", base_dir=own)
    assert by_name == load_cluster(str(own / "ours.yaml"))
    assert by_name == load_cluster("ours.yaml", base_dir=own)
    assert load_cluster("selene", base_dir=own) == load_cluster("selene")


def test_a_description_spelled_out_equals_the_preset():
    data = raw("clusters", "selene")
    data["node"] = raw("nodes", "dgx-a100")
    data["node"]["accelerator"] = raw("accelerators", "a100-sxm4-80gb")
    data["name"], data["node"]["name"] = "selene", "dgx-a100"
    data["node"]["accelerator"]["name"] = "a100-sxm4-80gb"
    assert load_cluster(data) == load_cluster("selene")


def test_unknown_name_lists_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        load_accelerator("h100-smx5-80gb")
    assert str(caught.value).startswith("unknown accelerator 'h100-smx5-80gb'")
    assert "h100-sxm5-80gb" in caught.value.hint
    with pytest.raises(UnknownNameError, match="unknown node 'dgx-a200'"):
        load_cluster(raw("clusters", "selene") | {"node": "dgx-a200"})


@pytest.mark.parametrize("name", ["../nodes/dgx-a100", "", "..", "a\0b", "selene.yaml\n"])
def test_a_name_cannot_leave_its_folder(name):
    with pytest.raises(SpecError):
        load_accelerator(name)


def test_extends_in_a_circle(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(SpecError, match=r"in a circle: .*a\.yaml -> .*b\.yaml -> .*a\.yaml"):
        load_accelerator(tmp_path / "a.yaml")


def test_accelerator_file_that_extends_itself(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: a\n")
    with pytest.raises(SpecError, match="in a circle"):
        load_accelerator("a", base_dir=tmp_path)


def change(data, path, value):
    *parents, last = path.split(".")
    for key in parents:
        data = data[int(key) if key.isdigit() and isinstance(data, list) else key]
    data[last] = value


BAD_NODES = [
    ("num_devices.value", 0, "greater than or equal to 1, got 0"),
    ("num_devices.value", 10**9, "less than or equal to"),
    ("num_devices.value", True, "valid integer, got true"),
    ("num_devices.value", "8", "valid integer, got '8'"),
    ("num_devices.source", "  ", "at least 1 character"),
    ("nics.bandwidth.value", "-25 GB/s", "'-25 GB/s' must be positive"),
    ("nics.bandwidth.value", "0 GB/s", "'0 GB/s' must be positive"),
    ("nics.bandwidth.value", "1e999 GB/s", "is not finite"),
    ("nics.bandwidth.value", 25, "25 has no unit"),
    ("nics.bandwidth.value", "25 GB", "'GB' in '25 GB' is not a unit of bandwidth"),
    ("nics.attach.value", "gqu", "'gqu' is not one of 'switch', 'gpu' or 'cpu'"),
    ("scale_up.kind", "ring", "is not one of"),
    ("scale_up", 7, "7"),
    ("host", [], "is not a mapping"),
    ("nvme.capacty", "3 TB", "unknown key 'capacty'"),
    ("collectives.ring", {}, "are no group sizes"),
    ("collectives.ring", {1: "3 GB/s"}, "are no group sizes"),
    ("accelerator", "a100", "unknown accelerator 'a100'"),
    ("accelerator", None, "null"),
]


@pytest.mark.parametrize(("path", "value", "message"), BAD_NODES)
def test_bad_node(path, value, message):
    data = raw("nodes", "dgx-a100")
    change(data, path, value)
    with pytest.raises(SpecError) as caught:
        load_node(data)
    assert message in str(caught.value)
    assert caught.value.where


def test_unknown_key_names_the_nearest_and_the_place():
    data = raw("nodes", "dgx-a100")
    data["nvme"]["capacty"] = data["nvme"].pop("capacity")
    with pytest.raises(SpecError) as caught:
        load_node(data)
    assert str(caught.value) == (
        "unknown key 'capacty'\n  at node 'node': nvme.capacty\n\nhint: did you mean 'capacity'?"
    )


@pytest.mark.parametrize("link", [[0, 8, 1], [3, 3, 1], [1, 0, 1]])
def test_bad_mesh_link(link):
    data = raw("nodes", "dgx-1v")
    data["scale_up"]["links"]["value"].append(link)
    with pytest.raises(SpecError, match=r"link \[\d, \d\] (does not join|occurs twice)"):
        load_node(data)


@pytest.mark.parametrize("value", [0, -1, 561, 10**12])
def test_bad_number_of_nodes(value):
    with pytest.raises(SpecError, match=f"{value} nodes asked of cluster 'selene'"):
        load_cluster("selene", num_nodes=value)


def test_a_billion_devices():
    many = {"value": 1_000_000_000, "source": "test"}
    with pytest.raises(SpecError, match="less than or equal to 1048576"):
        load_cluster({"extends": "selene", "num_nodes": many})
    many["value"] = 1_048_576
    with pytest.raises(SpecError, match="are 8,388,608 devices, more than 1,048,576"):
        load_cluster({"extends": "selene", "num_nodes": many})


def test_nodes_without_nics_stay_alone():
    node = {"extends": "dgx-a100", "nics": {"count": {"value": 0, "source": "test"}}}
    assert load_cluster({"extends": "selene", "node": node}, num_nodes=1).node.num_nics == 0
    with pytest.raises(SpecError, match="which has no NIC"):
        load_cluster({"extends": "selene", "node": node}, num_nodes=2)


@pytest.mark.parametrize(
    ("groups", "ratios", "message"),
    [
        ((20, 30, 60), (1, 1, 1), "whole groups of 20"),
        ((20, 10), (1, 1), "whole groups of 20"),
        ((20, 60), (1, 0.5), "0.5 is below 1"),
    ],
)
def test_bad_tiers(groups, ratios, message):
    tiers = [
        {"name": f"t{i}", "nodes_per_group": g, "oversubscription": r, "hop": "1 us", "source": "s"}
        for i, (g, r) in enumerate(zip(groups, ratios, strict=True))
    ]
    with pytest.raises(SpecError, match=message):
        load_cluster({"extends": "selene", "tiers": tiers})


@pytest.mark.parametrize("content", ["- 1\n- 2\n", "just text\n", "7\n"])
def test_a_file_that_holds_no_mapping(tmp_path, content):
    (tmp_path / "x.yaml").write_text(content)
    with pytest.raises(SpecError, match="is not a mapping"):
        load_cluster(tmp_path / "x.yaml")
