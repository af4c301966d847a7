"""Loads and latencies of a graph, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.errors import PlanError
from simulator.graph_ways import GraphWays
from simulator.spec.hardware import load_cluster
from simulator.wiring import GraphWiring

DIAMOND = (
    ("node0", "left", 10.0, 1.0),
    ("node0", "right", 10.0, 2.0),
    ("left", "node1", 10.0, 1.0),
    ("right", "node1", 5.0, 2.0),
    ("node1", "node2", 4.0, 0.5),
    ("node1", "node2", 4.0, 0.25),
    ("far", "away", 1.0, 1.0),
)


def ways(*links: tuple[str, str, float, float], num_nodes: int = 3) -> GraphWays:
    wiring = GraphWiring(links or DIAMOND)
    cluster = load_cluster("dgx-h100-superpod", num_nodes=num_nodes)
    return GraphWays.of(replace(cluster, fabric=wiring), wiring)


def sent(**flows: float) -> np.ndarray:
    matrix = np.zeros((3, 3))
    for way, rate in flows.items():
        matrix[int(way[1]), int(way[2])] = rate
    return matrix


def test_equal_ways_carry_equal_parts() -> None:
    """8 from node 0 to node 2: 4 on each side, 8 on the last link, which is two of 4."""
    loads = ways().loads(sent(f02=8.0))
    assert sorted(loads[loads > 0].tolist()) == [4.0, 4.0, 4.0, 4.0, 8.0]
    assert ways().fullest(sent(f02=8.0)) == 1.0
    # Both directions of a link have its whole bandwidth.
    assert ways().fullest(sent(f02=8.0, f20=8.0)) == 1.0
    assert ways().fullest(sent(f02=8.0, f12=8.0)) == 2.0


def test_what_a_node_sends_itself_takes_no_link() -> None:
    assert not ways().loads(sent(f00=8.0, f11=1.0)).any()


def test_latency_is_that_of_the_slowest_of_equal_ways() -> None:
    latency_s = ways().latency_s
    assert latency_s[0, 1] == latency_s[1, 0] == 2 + 2
    assert latency_s[0, 2] == 2 + 2 + 0.5
    assert latency_s[0, 0] == 0


def test_paths_are_slowed_by_their_own_links() -> None:
    """10 from node 0 to node 1 fill the link of 5 on the right; node 2 sends 4 of 8."""
    slow = ways().path_slowdowns(sent(f01=20.0, f21=4.0))
    assert slow[0, 1] == 2.0
    assert slow[2, 1] == 1.0
    assert slow[1, 0] == 1.0


def test_nodes_pass_on_what_is_not_for_them() -> None:
    """A line of three: what node 0 sends node 2 passes node 1."""
    line = ways(("node0", "node1", 1.0, 1.0), ("node1", "node2", 1.0, 1.0))
    assert line.fullest(sent(f02=1.0, f01=1.0)) == 2.0


def test_a_node_without_a_way_is_named() -> None:
    with pytest.raises(PlanError, match="no way from 'node0' to 'node2'"):
        ways(("node0", "node1", 1.0, 1.0))
    with pytest.raises(PlanError, match="no way from 'node0' to 'node2'"):
        ways(("node0", "node1", 1.0, 1.0), ("node2", "switch", 1.0, 1.0))
    with pytest.raises(PlanError, match="no way from 'node1' to 'node0'"):
        ways(("node1", "node2", 1.0, 1.0))
