"""The page of ``show``."""

from __future__ import annotations

from simulator.machine import Cluster
from simulator.report.drawing import Section, drawing_page
from simulator.report.frame import table
from simulator.report.network import network_rows
from simulator.report.network_svg import network_drawing, node_drawing
from simulator.report.svg import escape


def network_page(cluster: Cluster) -> str:
    """A cluster's network and the inside of a node, drawn."""
    headers = ("level", "number", "holds", "links")
    rows = [[escape(cell) for cell in row] for row in network_rows(cluster)]
    return drawing_page(
        cluster.name,
        [
            Section("Network", "", network_drawing(cluster), table(headers, rows, num_texts=4)),
            Section(f"Inside a node: {cluster.node.name}", "", node_drawing(cluster.node)),
        ],
        note=f"{cluster.num_nodes:,} nodes, {cluster.num_devices:,} devices",
    )
