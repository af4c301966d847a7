"""Collectives on the axes of a torus: one after another, or all at once."""

from __future__ import annotations

import numpy as np

from simulator.cost.collective.volume import CollectiveKind, bus_bytes, ring_rounds
from simulator.machine import GroupLink
from simulator.numeric import Numeric


def torus_s(kind: CollectiveKind, payload_bytes: Numeric, link: GroupLink) -> Numeric:
    """Time b + r s + V / B over all axes at once: the payload in as many parts as there are axes.

    Each part starts on another axis, so that all links are busy. s is the latency of the longest
    way, r 2 for an all-reduce; b and what B is at most are those of the fastest protocol, as of a
    ring. Infinite off a torus, and over several.

    Source: Jain and Sabharwal 2010, "Optimal bucket algorithms for large MPI collectives on torus
        interconnects", ICS (from memory); jax-ml/scaling-book, "How to think about TPUs".
    """
    return _rings_s(kind, payload_bytes, link, link.torus_bytes_per_s)


def bucket_s(kind: CollectiveKind, payload_bytes: Numeric, link: GroupLink) -> Numeric:
    """The same with one axis after the other: rings along x, then y with what x left, ...

    Source: Barnett et al. 1994, "Interprocessor collective communication library", SHPCC (from
        memory).
    """
    return _rings_s(kind, payload_bytes, link, link.torus_bucket_bytes_per_s)


def _rings_s(
    kind: CollectiveKind, payload_bytes: Numeric, link: GroupLink, bytes_per_s: Numeric
) -> Numeric:
    on_torus = np.logical_and(np.greater(bytes_per_s, 0.0), np.equal(link.num_nodes, 1.0))
    bandwidth = np.where(on_torus, bytes_per_s, 1.0)
    moved = bus_bytes(kind, payload_bytes, link.size)
    ll, ll128, simple = (
        base_s + moved / np.minimum(rate, bandwidth)
        for base_s, rate in (
            (link.ll_base_s, link.ll_bytes_per_s),
            (link.ll128_base_s, link.ll128_bytes_per_s),
            (link.simple_base_s, np.inf),
        )
    )
    latency_s = ring_rounds(kind) * link.torus_way_s
    start_and_bytes_s = np.minimum(np.minimum(ll, ll128), simple)
    return np.where(on_torus, latency_s + start_and_bytes_s, np.inf)
