"""A network as numbers and names: what ``show --json`` holds, and words drawn from it."""

import re
from dataclasses import replace

import pytest

from simulator.report.levels import LevelLinks, levels
from simulator.report.network import holds_words, links_words, network_record, network_rows
from simulator.report.network_svg import network_drawing
from simulator.spec.hardware import load_cluster
from simulator.spec.yaml_file import list_data
from simulator.wiring import GraphWiring, PodsWiring, WanWiring

NAME = re.compile(r"[\w.-]+")
"""One word: a name, not a sentence."""


def texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    if isinstance(value, list | tuple):
        return [text for one in value for text in texts(one)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("name", list_data("clusters"))
def test_json_holds_names_and_numbers_only(name: str) -> None:
    assert [text for text in texts(network_record(load_cluster(name))) if " " in text] == []


def test_tiers_by_hand() -> None:
    """8 NICs of 50 GB/s are 400 GB/s of a node, over 7 : 1 57.1 of them."""
    top, pod, rack, node = levels(load_cluster("meta-h100-roce-24k"))
    assert (top.count, top.holds, top.holds_count) == (1, "pod", 8)
    assert (rack.count, rack.holds, rack.holds_count) == (1536, "node", 2)
    assert (pod.links.oversubscription, top.links.oversubscription) == (1.0, 7.0)
    assert top.links.node_bandwidth_bytes_per_s == pytest.approx(400e9 / 7)
    assert (top.links.latency_s, rack.links.latency_s) == (1e-6, 0.5e-6)
    assert node.links == LevelLinks("nics", 8, 50e9)
    assert links_words(top) == "57.1 GB/s per node, 7 : 1 oversubscribed, 1 us"


def test_every_kind_has_its_numbers_and_words() -> None:
    pod, h100 = load_cluster("tpu-v4-pod"), load_cluster("dgx-h100-superpod", num_nodes=16)
    cases = {
        "rails": (h100, "8 rails, 400 GB/s per node, 500 ns"),
        "dragonfly_global": (
            load_cluster("frontier"),
            "4 x 25 GB/s between each two, 1.75 : 1 oversubscribed, 1 us, adaptive routing",
        ),
        "torus": (pod, "45 GB/s per link, 1 us, wraps around"),
        "wan": (
            replace(h100, fabric=WanWiring(8, 1e9, 5e-3)),
            "1 GB/s and 5 ms between each two sites",
        ),
        "graph": (
            replace(h100, fabric=GraphWiring((("node0", "node1", 1e9, 1e-6),))),
            "1 of 1 GB/s, 1 us",
        ),
    }
    for kind, (cluster, words) in cases.items():
        first = levels(cluster)[0]
        assert (first.links.kind, links_words(first)) == (kind, words)
        assert first.links.to_json()["kind"] == kind
    sites = levels(replace(h100, fabric=WanWiring(8, 1e9, 5e-3)))[0]
    assert (sites.holds_count, sites.links.nodes_per_site) == (2, 8)
    assert holds_words(sites) == "2 sites of 8 nodes"
    cube = levels(pod)[0]
    assert (cube.links.shape, cube.holds_count) == ((16, 16, 16), 4096)
    pods = levels(replace(pod, fabric=PodsWiring((8, 8, 8))))
    assert [(one.name, one.count) for one in pods] == [("pod", 1), ("pod", 8), ("node", 1024)]


def test_tiers_are_those_of_a_site() -> None:
    """20 nodes in sites of 8 are two whole sites and one of 4; leaves of 4 nodes: 2 + 2 + 1."""
    h100 = load_cluster("dgx-h100-superpod", num_nodes=20)
    leaf = replace(h100.tiers[0], nodes_per_group=4)
    spine = replace(h100.tiers[0], name="spine", nodes_per_group=20)
    apart = replace(h100, tiers=(leaf, spine), fabric=WanWiring(8, 1e9, 5e-3))
    found = [(one.name, one.count, one.holds_count, one.holds) for one in levels(apart)[:-1]]
    assert found == [
        ("wan", 1, 3, "site"),
        ("site", 3, 1, "spine"),
        ("spine", 3, 2, "leaf"),
        ("leaf", 5, 4, "node"),
    ]
    assert "5 ms between each two" in network_drawing(apart)
    assert network_drawing(apart).count(">site ") == 3
    one_site = replace(apart, num_nodes=8)
    assert [one.name for one in levels(one_site)] == ["spine", "leaf", "node"]


def test_links_of_a_graph_are_told_by_speed_and_few_of_them_by_name() -> None:
    h100 = load_cluster("dgx-h100-superpod", num_nodes=16)
    star = tuple((f"node{i}", "hub", 1e9 if i else 5e9, 1e-6) for i in range(16))
    few = levels(replace(h100, fabric=GraphWiring(star)))[0]
    assert links_words(few) == "1 of 5 GB/s, 1 us; 15 of 1 GB/s, 1 us"
    rows = network_rows(replace(h100, fabric=GraphWiring(star)))
    assert rows[2] == ("  node1 - hub", "1", "", "1 GB/s, 1 us")
    record = few.links.to_json()
    assert record["speeds"] == [
        {"count": 1, "bandwidth_bytes_per_s": 5e9, "latency_s": 1e-6},
        {"count": 15, "bandwidth_bytes_per_s": 1e9, "latency_s": 1e-6},
    ]
    assert len(few.links.named or ()) == 16
    many = tuple((f"node{i}", "hub", 1e9 + i, 1e-6) for i in range(17))
    more = levels(replace(h100, fabric=GraphWiring(many)))[0]
    assert more.links.named is None
    assert links_words(more).endswith("; 13 others")
