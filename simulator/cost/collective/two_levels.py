"""A group seen as nodes of ranks: the part inside a node, and the part between nodes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.machine import GroupLink
from simulator.numeric import Numeric


def ranks_per_node(link: GroupLink) -> Numeric:
    """Ranks of the group that share a node, g = n / N."""
    return link.size / link.num_nodes


def inside(link: GroupLink) -> GroupLink:
    """The ranks of one node as a group of their own."""
    return replace(link, size=ranks_per_node(link), num_nodes=1.0, network_bytes_per_s=np.inf)


def between(link: GroupLink) -> GroupLink:
    """One rank of every node as a group, with its 1 / g of the NICs: all g such groups are busy."""
    share = link.network_bytes_per_s / ranks_per_node(link)
    return replace(link, size=link.num_nodes, network_bytes_per_s=share)
