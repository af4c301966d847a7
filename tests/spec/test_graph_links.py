"""Links of a graph in a cluster's file: what is wrong with them is said when it is read."""

from pathlib import Path

import pytest

from simulator.errors import SpecError
from simulator.machine import Cluster
from simulator.spec.graph_links import check_graph, num_passed
from simulator.spec.hardware import load_cluster

ROWS = (
    "[node0, switch, 25 GB/s, 1 us]",
    "[node1, switch, 25 GB/s, 1 us]",
    "[node2, switch, 25 GB/s, 1 us]",
    "[node3, node2, 100 GB/s, 5 us]",
)


def graph(folder: Path, *rows: str, num_nodes: int | None = None) -> Cluster:
    path = folder / "mine.yaml"
    path.write_text(
        "extends: dgx-h100-superpod\nnum_nodes: {value: 4, source: test}\n"
        f"fabric: {{kind: graph, links: {{value: [{', '.join(rows)}], source: test}}}}\n"
    )
    return load_cluster(path, num_nodes=num_nodes)


def notes(cluster: Cluster) -> list[str]:
    return [one.value for one in cluster.assumptions if one.name == "fabric"]


def test_a_whole_graph_is_taken_as_it_is(tmp_path: Path) -> None:
    assert notes(graph(tmp_path, *ROWS)) == []


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("[node3, node7, 100 GB/s, 5 us]", "link 3 joins 'node3' and 'node7': of 4 nodes none"),
        ("[node3, Node2, 100 GB/s, 5 us]", "of 4 nodes none is 'Node2'"),
        ("[node3, node02, 100 GB/s, 5 us]", "of 4 nodes none is 'node02'"),
        ("[node3, node3, 100 GB/s, 5 us]", "joins 'node3' with itself"),
        ("[node3, node2, 100 GB/s]", r"link \[node3, node2, 100 GB/s\] lacks 'latency'"),
        ("[node3, node2]", r"lacks 'bandwidth', 'latency'"),
        ("[node3, node2, 100 GB/s, 5 us, 7]", "holds 5 values"),
        ("node3", "'node3' is not a link"),
        ("[node1, node2, 100 GB/s, 5 us]", "no way from 'node0' to 'node3': 1 of 4 nodes"),
        ("[node3, other, 100 GB/s, 5 us]", "no way from 'node0' to 'node3': 1 of 4 nodes"),
    ],
)
def test_a_wrong_link_is_refused_when_it_is_read(row: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=problem):
        graph(tmp_path, *ROWS[:3], row)


def test_nodes_beyond_those_asked_for_are_said_to_pass_on(tmp_path: Path) -> None:
    assert notes(graph(tmp_path, *ROWS, num_nodes=3)) == [
        "'graph': nodes beyond node2 (1) only pass on what others send"
    ]
    links = [("node0", "s", 1.0, 0.0), ("s", "node1", 1.0, 0.0), ("node1", "node2", 1.0, 0.0)]
    check_graph(links, 3)
    assert [num_passed(links, count) for count in (1, 2, 3)] == [2, 1, 0]


def test_one_site_is_said_to_use_no_link_between_sites(tmp_path: Path) -> None:
    path = tmp_path / "sites.yaml"
    figures = ", ".join(
        f"{key}: {{value: {value}, source: test}}"
        for key, value in (("nodes_per_site", 8), ("bandwidth", "1 GB/s"), ("latency", "5 ms"))
    )
    path.write_text(f"extends: dgx-h100-superpod\nfabric: {{kind: wan, {figures}}}\n")
    assert notes(load_cluster(path, num_nodes=9)) == []
    assert notes(load_cluster(path, num_nodes=8)) == [
        "'wan': no link between sites is used, one site holds all 8 nodes"
    ]


@pytest.mark.parametrize(
    "fabric",
    [
        "{kind: graph, links: [[node0, node1, 1 GB/s, 1 us]]}",
        "{kind: wan, nodes_per_site: 8}",
        "{kind: pods, shape: [4, 4, 4]}",
    ],
)
def test_a_figure_without_a_source_is_shown_how_to_be_written(fabric: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: dgx-h100-superpod\nfabric: {fabric}\n")
    with pytest.raises(SpecError) as caught:
        load_cluster(path)
    assert caught.value.hint == "write {value: ..., source: ...}"
