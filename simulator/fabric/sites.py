"""Networks of sites, each with one way out, joined pair by pair over a wide area."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simulator.fabric.joined import Unit, joined
from simulator.fabric.links import NO_LINK, Fabric, LinkGroup, LinkTable, Router
from simulator.fabric.parts import linked_parts
from simulator.machine import Edge
from simulator.numeric import IntArray
from simulator.wiring import WanWiring


@dataclass(frozen=True, slots=True, eq=False)
class _SiteRouter:
    """Ports of a site, and behind the last of them its way out.

    Attributes:
        inner: between ports.
        port_up, port_down: [ports], first and last link of a flow of that port.
        out, into: number of the way out and of the way in.
    """

    inner: Router
    port_up: IntArray
    port_down: IntArray
    out: int
    into: int

    def routes(self, source: IntArray, target: IntArray, key: IntArray) -> IntArray:
        """See ``links.Router``."""
        last = len(self.port_up) - 1
        leaves, enters = target > last, source > last
        start, end = np.minimum(source, last), np.minimum(target, last)
        outside = (leaves | enters)[:, None]
        columns = (
            np.where(enters, self.into, NO_LINK),
            np.where(enters, self.port_down[end], NO_LINK),
            np.where(leaves, self.port_up[start], NO_LINK),
            np.where(leaves, self.out, NO_LINK),
        )
        home = np.where(outside, NO_LINK, self.inner.routes(start, end, key))
        return np.concatenate([home, np.stack(columns, axis=-1)], axis=1)


def joined_sites(name: str, site: Fabric, count: int, wiring: WanWiring) -> Fabric:
    """Sites, each pair joined by a link as wide as the ways out of both.

    Assumes: what leaves a site is stopped by its port and by the way out alone, not by the tiers
        between them.

    Args:
        name: of the whole.
        site: of one site, a tree whose links of ports come first, up and then down.
        count: sites; port = site * ports of a site + port.
        wiring: ways out and latency.
    """
    up, down = (group.ids for group in site.groups[:2])
    table = LinkTable()
    out = table.add("way out", (1,), wiring.bytes_per_s, 0.0) + site.num_links
    into = table.add("way in", (1,), wiring.bytes_per_s, 0.0) + site.num_links
    ways = table.fabric("", 0, site.router)
    unit = replace(
        site,
        num_endpoints=site.num_endpoints + 1,
        groups=(
            *site.groups,
            *(LinkGroup(group.label, group.ids + site.num_links) for group in ways.groups),
        ),
        capacity_bytes_per_s=np.append(site.capacity_bytes_per_s, ways.capacity_bytes_per_s),
        latency_s=np.append(site.latency_s, ways.latency_s),
        router=_SiteRouter(site.router, up, down, int(out[0]), int(into[0])),
    )
    names = [f"site{i}" for i in range(count)]
    edges = [
        Edge(a, b, wiring.bytes_per_s, wiring.latency_s)
        for i, a in enumerate(names)
        for b in names[:i]
    ]
    outer = linked_parts("wide-area network", edges, names)
    ports = site.num_endpoints
    return joined(name, Unit(unit, ports, [[0]] * ports), count, outer, label="site")
