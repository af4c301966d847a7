"""The page of ``show``."""

from __future__ import annotations

from simulator.machine import Cluster
from simulator.report.drawing import Section, drawing_page
from simulator.report.frame import plain_table
from simulator.report.network import network_rows
from simulator.report.network_svg import network_drawing, node_drawing


def network_page(cluster: Cluster) -> str:
    """A cluster's network and the inside of a node, drawn."""
    headers = ("level", "number", "holds", "links")
    return drawing_page(
        cluster.name,
        [
            Section(
                "Network", "", network_drawing(cluster), plain_table(headers, network_rows(cluster))
            ),
            Section(f"Inside a node: {cluster.node.name}", "", node_drawing(cluster.node)),
        ],
        note=f"{cluster.num_nodes:,} nodes, {cluster.num_devices:,} devices",
    )
