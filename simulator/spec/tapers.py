"""Whether the tiers of a dragonfly say of its global links what the links themselves say."""

from __future__ import annotations

from typing import Final

from simulator.errors import SpecError
from simulator.machine import FabricTier, Node
from simulator.numeric import ceil_div
from simulator.wiring import DragonflyWiring, NetworkWiring

AGREEMENT: Final = 0.1
"""How far an oversubscription may be from that of the links: catalogues give two digits."""


def check_taper(
    fabric: NetworkWiring | None, tiers: tuple[FabricTier, ...], node: Node, where: str
) -> None:
    """Steps follow the tiers, messages one by one the links: both must describe one network.

    A group of P nodes of n NICs sends P n NICs' worth; to G - 1 other groups go g links each, as
    fast as a NIC: P n / (g (G - 1)) : 1, and 1 : 1 where the links are more.

    Args:
        fabric: how the network is wired.
        tiers: as described, from the lowest; the first is a group's.
        node: with its NICs.
        where: names the cluster.

    Raises:
        SpecError: if a dragonfly's two descriptions differ.
    """
    if not isinstance(fabric, DragonflyWiring) or len(tiers) < 2:
        return
    group, above = tiers[0], tiers[1]
    others = ceil_div(above.nodes_per_group, group.nodes_per_group) - 1
    if others < 1:
        return
    sent, links = group.nodes_per_group * node.num_nics, fabric.global_links * others
    ratio = max(1.0, sent / links)
    if abs(above.oversubscription / ratio - 1.0) > AGREEMENT:
        raise SpecError(
            f"tier '{above.name}' is oversubscribed {above.oversubscription:g} : 1, but a "
            f"{group.name} of {group.nodes_per_group} nodes * {node.num_nics} NICs has "
            f"{fabric.global_links} global links to each of {others} others, {links} for {sent} "
            "NICs",
            where=f"cluster '{where}': fabric.global_links",
            hint=f"write oversubscription: {ratio:.3g}, or the global links that it takes",
        )
