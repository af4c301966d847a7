"""One collective on a machine, as nccl-tests would print it, and what bounds it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from simulator.cost.collective import ALGORITHMS, CollectiveKind, bus_bytes, weighs_rings
from simulator.cost.collective.terms import Part, times_without_s
from simulator.errors import PlanError
from simulator.machine import USUAL_ALGORITHMS, Cluster, GroupLink
from simulator.plan import ProcessGroup
from simulator.topology import Topology
from simulator.wiring import WanWiring, rescaled

KINDS: Final[tuple[CollectiveKind, ...]] = (
    "all_reduce",
    "all_gather",
    "reduce_scatter",
    "all_to_all",
    "broadcast",
)
_NOTHING: Final = "-"


@dataclass(frozen=True, slots=True)
class CollectiveRun:
    """One line of the table.

    Attributes:
        nodes: on which the ranks lie; at least so many where they are not next to each other.
        payload_bytes: nccl-tests convention, see ``cost/collective/volume.py``.
        algorithm: the fastest of those there are.
        bound: whose relief would save most time: latency, links in the node, NIC or a tier.
        times_s: algorithm -> seconds, of every one that runs on this group, whether the library
            has it or not.
        pods: on which they lie, where a torus joins the devices.
    """

    kind: CollectiveKind
    ranks: int
    nodes: int
    payload_bytes: float
    algorithm: str
    time_s: float
    bound: str
    times_s: Mapping[str, float]
    pods: int | None = None

    @property
    def algorithm_bytes_per_s(self) -> float:
        """Payload over time (algbw)."""
        return self.payload_bytes / self.time_s if self.time_s else 0.0

    @property
    def bus_bytes_per_s(self) -> float:
        """Bytes every rank must send over time (busbw)."""
        moved = float(bus_bytes(self.kind, self.payload_bytes, self.ranks))
        return moved / self.time_s if self.time_s else 0.0


def collective_runs(
    cluster: Cluster,
    kind: CollectiveKind,
    group: ProcessGroup,
    payloads: Sequence[float],
    *,
    forced: Sequence[str] = (),
) -> list[CollectiveRun]:
    """A run per payload, while all sibling groups of the ranks in use do the same.

    Args:
        cluster: with as many nodes as there are.
        kind: what is communicated.
        group: its ranks.
        payloads: in bytes.
        forced: algorithms to choose among, instead of those of the cluster's library.

    Raises:
        PlanError: if the group is larger than the cluster, or none of the forced runs on it.
    """
    topology = Topology.of(cluster)
    link = topology.group_link(group, num_ranks=group.size * group.stride)
    network = _network_name(cluster, kind, group, link)
    places = round(float(link.num_nodes))
    on_torus = bool(link.torus_bytes_per_s)
    nodes = min(group.size, -(-group.size * group.stride // cluster.node.num_devices))
    found: list[CollectiveRun] = []
    for payload in payloads:
        times_s = _times_s(cluster, kind, payload, link)
        own = _among(forced or _weighed(kind, link), times_s)
        if forced and not own:
            raise _cannot(kind, link, forced, times_s)
        own = own or _among(USUAL_ALGORITHMS, times_s)
        fastest = min(own, key=lambda name: times_s[name])
        found.append(
            CollectiveRun(
                kind=kind,
                ranks=group.size,
                nodes=nodes if on_torus else places,
                payload_bytes=payload,
                algorithm=fastest,
                time_s=times_s[fastest] if group.size > 1 else 0.0,
                bound=_bound(kind, payload, link, fastest, network),
                times_s=times_s,
                pods=places if on_torus else None,
            )
        )
    return found


def _weighed(kind: CollectiveKind, link: GroupLink) -> list[str]:
    """The algorithms of the library, less rings where it does not consider them."""
    rings = bool(weighs_rings(kind, link, link.algorithms))
    return [name for name in link.algorithms if name != "ring" or rings]


def _times_s(
    cluster: Cluster, kind: CollectiveKind, payload: float, link: GroupLink
) -> dict[str, float]:
    """Seconds of every algorithm that runs there, each under one name.

    On a torus a library's rings are those along all axes (``group_link.on_torus``): ``torus``.
    """
    times = {
        name: float(algorithm.time_s(kind, payload, link))
        for name, algorithm in ALGORITHMS.items()
        if kind in algorithm.kinds and (cluster.switches_reduce or not algorithm.in_switches)
    }
    found = {name: time_s for name, time_s in times.items() if math.isfinite(time_s)}
    return {name: found[name] for name in found if name != "ring" or "torus" not in found}


def _among(names: Sequence[str], times_s: Mapping[str, float]) -> list[str]:
    """Those of the names that run, as ``times_s`` calls them."""
    called = ["torus" if name == "ring" and name not in times_s else name for name in names]
    return [name for name in dict.fromkeys(called) if name in times_s]


def _cannot(
    kind: CollectiveKind, link: GroupLink, forced: Sequence[str], times_s: Mapping[str, float]
) -> PlanError:
    nodes = round(float(link.num_nodes))
    place = f"{nodes} node" if nodes == 1 else f"{nodes} nodes"
    return PlanError(
        f"{' or '.join(forced)} does not run {kind} on {round(float(link.size))} ranks of {place}",
        where="--algorithm",
        hint=f"there run {', '.join(times_s)}",
    )


def _bound(
    kind: CollectiveKind, payload: float, link: GroupLink, algorithm: str, network: str
) -> str:
    """Which of latency, links in the node and network would save most if it cost nothing."""
    if link.size == 1:
        return _NOTHING
    without_s = times_without_s(ALGORITHMS[algorithm], kind, payload, link)
    names: dict[Part, str] = {
        "latency": "latency",
        "node": "torus links" if link.torus_bytes_per_s else "links in the node",
        "network": network,
    }
    return names[min(without_s, key=lambda part: float(without_s[part]))]


def _network_name(
    cluster: Cluster, kind: CollectiveKind, group: ProcessGroup, link: GroupLink
) -> str:
    """What takes most of a group's bandwidth: a tier, far links, or the NIC."""
    if link.num_nodes == 1:
        return "NIC"
    gains = {"NIC": _network_bytes_per_s(kind, link)}
    for index, tier in enumerate(cluster.tiers):
        freed = replace(tier, oversubscription=1.0)
        tiers = (*cluster.tiers[:index], freed, *cluster.tiers[index + 1 :])
        topology = Topology.of(replace(cluster, tiers=tiers))
        wider = topology.group_link(group, num_ranks=group.size * group.stride)
        gains[f"tier {tier.name}"] = _network_bytes_per_s(kind, wider)
    wider = replace(cluster, fabric=rescaled(cluster.fabric, width=math.inf))
    link = Topology.of(wider).group_link(group, num_ranks=group.size * group.stride)
    gains[_far_name(cluster)] = _network_bytes_per_s(kind, link)
    return max(gains, key=lambda name: gains[name])


def _network_bytes_per_s(kind: CollectiveKind, link: GroupLink) -> float:
    """What the kind gets of the network: pairs of an all-to-all cross more of it than rings."""
    exchanges = kind == "all_to_all"
    return float(link.network_exchange_bytes_per_s if exchanges else link.network_bytes_per_s)


def _far_name(cluster: Cluster) -> str:
    return "links between sites" if isinstance(cluster.fabric, WanWiring) else "links of the graph"
