"""What workers see of one another: seconds and bytes of an exchange among all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from simulator.cost.collective import CollectiveKind, bus_bytes
from simulator.exchange_policy import SiteLink
from simulator.machine import GroupLink
from simulator.numeric import as_float
from simulator.workload.data_moves import Move, network_bytes
from simulator.workload.move_prices import moves_s
from simulator.workload.price import PriceContext


@dataclass(frozen=True, slots=True)
class Sent:
    """One exchange.

    Attributes:
        seconds: until all workers have what they need.
        bytes: that leave one node, or one site where a WAN joins the workers.
    """

    seconds: float
    bytes: float

    def __add__(self, other: Sent) -> Sent:
        """One after the other."""
        return Sent(self.seconds + other.seconds, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class Between:
    """The groups in which workers exchange.

    Attributes:
        workers: how many.
        across: link of the ranks in one place of every worker.
        inside: link of the data-parallel ranks of a worker.
        ranks_per_node: ranks of the job that share a node's NICs.
        ranks_per_worker: all ranks of a worker, tensor- and pipeline-parallel ones among them.
        server_bytes_per_s: of all NICs of a node, as a collective reaches it.
        wan: instead of the cluster's network.
    """

    workers: int
    across: GroupLink
    inside: GroupLink
    ranks_per_node: int
    ranks_per_worker: int
    server_bytes_per_s: float
    context: PriceContext
    wan: SiteLink | None = None

    def collective(self, kind: CollectiveKind, payload_bytes: float) -> Sent:
        """A collective of the ranks in one place of every worker, all places at once.

        Args:
            kind: what is communicated.
            payload_bytes: of one rank, nccl-tests convention.
        """
        if self.wan is not None:
            return self._over_wan(kind, payload_bytes * self.ranks_per_worker)
        move = Move(kind, payload_bytes, self.across)
        per_node = as_float(network_bytes(move)) * self.ranks_per_node
        return Sent(as_float(moves_s([move], self.context)), per_node)

    def all_reduce(self, payload_bytes: float) -> Sent:
        """Sum of what every rank of a worker holds whole, in two levels.

        Every rank of a worker reduces its own part with the ranks in its place, 2 (n - 1) / n of
        it through the network; then the parts are gathered inside the worker.

        Source: weigao266/fairscale-CO2, gossip/co2.py (``_maybe_allreduce`` among one rank per
            node, ``_maybe_sync_locally``): a node's NICs carry the model once, not once per rank.
        """
        size = as_float(self.inside.size)
        sent = self.collective("all_reduce", payload_bytes / size)
        gather = Move("all_gather", payload_bytes, self.inside)
        return replace(sent, seconds=sent.seconds + as_float(moves_s([gather], self.context)))

    def _over_wan(self, kind: CollectiveKind, site_bytes: float) -> Sent:
        """A ring of sites: every one sends the bus bytes of all its ranks; 2 (n - 1) messages."""
        assert self.wan is not None
        sent = as_float(bus_bytes(kind, site_bytes, float(self.workers)))
        steps = (2 if kind == "all_reduce" else 1) * (self.workers - 1)
        return Sent(steps * self.wan.latency_s + sent / self.wan.bytes_per_s, sent)
