"""A ring collective step by step, where nothing folds: every hop has its own links and speed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.fabric.fair import Incidence, fair_rates
from simulator.fabric.links import Fabric
from simulator.numeric import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class RingRun:
    """One run of a ring.

    Attributes:
        end_s: [ranks], when each rank has received its last chunk.
        hop_s: [ranks], what a chunk takes from each rank to the next while all hops are busy.
        rate_bytes_per_s: [ranks], of those hops.
        events: chunks that were passed on.
    """

    end_s: FloatArray
    hop_s: FloatArray
    rate_bytes_per_s: FloatArray
    events: int

    @property
    def makespan_s(self) -> float:
        """When the last rank is done."""
        return float(self.end_s.max(initial=0.0))


def ring_all_reduce(
    fabric: Fabric, ranks: IntArray, payload_bytes: float, *, step_s: float = 0.0, key: int = 0
) -> RingRun:
    """A ring all-reduce: 2 (k - 1) steps in which every rank passes a chunk of S / k on."""
    steps = 2 * (len(ranks) - 1)
    return ring_steps(fabric, ranks, payload_bytes / len(ranks), steps, step_s=step_s, key=key)


def ring_steps(
    fabric: Fabric,
    ranks: IntArray,
    chunk_bytes: float,
    num_steps: int,
    *,
    step_s: float = 0.0,
    key: int = 0,
) -> RingRun:
    """Passes chunks around a ring, every pass an event of its own.

    A rank sends in step k what it received in step k - 1, once its own sending of step k - 1 is
    over: end[k][r] = max(end[k-1][r-1], end[k-1][r]) + hop[r-1], where hop is the time of a chunk
    at the max-min fair rate of the hops that are under way together, all of them.

    Assumes: hops share links as if all were busy all the time. A rank that waits for a slower one
        before it leaves its share to others in truth, so this is an upper bound; exact where no two
        hops share a link, or all take equally long.

    Args:
        fabric: the links.
        ranks: [ranks], endpoints in the order of the ring.
        chunk_bytes: passed on by every rank in every step.
        num_steps: of the collective: k - 1 for all-gather and reduce-scatter.
        step_s: what the software adds to every pass.
        key: of the flows.
    """
    if len(ranks) < 2:
        empty = np.zeros(len(ranks))
        return RingRun(empty, empty, np.full(len(ranks), np.inf), 0)
    routes = fabric.routes(ranks, np.roll(ranks, -1), key)
    row, column = np.nonzero(routes >= 0)
    links, place = np.unique(routes[row, column], return_inverse=True)
    rate = fair_rates(
        Incidence(row, place, np.ones(len(row))),
        fabric.capacity_bytes_per_s[links],
        np.ones(len(ranks)),
        np.full(len(ranks), np.inf),
    ).rate
    hop_s = chunk_bytes / rate + fabric.path_latency_s(routes) + step_s
    received_s = np.zeros(len(ranks))
    before_s = np.roll(hop_s, 1)
    for _ in range(num_steps):
        received_s = np.maximum(received_s, np.roll(received_s, 1)) + before_s
    return RingRun(received_s, hop_s, rate, num_steps * len(ranks))
