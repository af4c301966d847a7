"""Other links between sites, or in a graph."""

from __future__ import annotations

from dataclasses import replace

from simulator.spec.load import load_scenario
from simulator.whatif.hardware import network_latency, oversubscription
from simulator.wiring import DragonflyWiring, GraphWiring, WanWiring, rescaled

WAN = WanWiring(8, 10.0, 1.0)


def test_links_of_sites_and_graphs_scale() -> None:
    assert rescaled(WAN, width=2.0) == WanWiring(8, 20.0, 1.0)
    assert rescaled(WAN, latency=3.0) == WanWiring(8, 10.0, 3.0)
    graph = GraphWiring((("node0", "node1", 10.0, 1.0),))
    assert rescaled(graph, width=2.0, latency=0.0) == GraphWiring((("node0", "node1", 20.0, 0.0),))


def test_others_go_by_tiers() -> None:
    dragonfly = DragonflyWiring(4, 1, "minimal")
    assert rescaled(dragonfly, width=2.0, latency=2.0) == dragonfly
    assert rescaled(None, width=2.0) is None


def test_what_if_levers_move_them() -> None:
    """Half the bandwidth above the NICs, twice the latency of the network."""
    scenario = load_scenario("llama2-7b-fsdp")
    scenario = replace(scenario, cluster=replace(scenario.cluster, fabric=WAN))
    assert oversubscription(scenario, 2.0).cluster.fabric == WanWiring(8, 5.0, 1.0)
    assert network_latency(scenario, 2.0).cluster.fabric == WanWiring(8, 10.0, 2.0)
