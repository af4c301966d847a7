"""Which ranks of a job lie on slow hosts of a large cluster."""

from __future__ import annotations

from typing import Final

from simulator.machine import Cluster
from simulator.numeric import ceil_div

_GOLDEN: Final = (5**0.5 - 1) / 2


def slow_host_ids(cluster: Cluster, num_devices: int) -> tuple[int, ...]:
    """Slow hosts of a job: as many as are expected among its hosts, spread over them.

    count = round(share * hosts); the i-th is host floor(hosts * frac(i * 0.618)), i from 1: the
    golden ratio spreads any number of them evenly, and over stages and replicas alike.

    Source: Jiang et al. 2024, MegaScale (arXiv 2402.15627), sections 5.1 and 6.3: some 0.5 % of
        the machines, whichever the scheduler gives.
    Assumes: a job has the expected number of them.
    """
    if cluster.slow_hosts is None:
        return ()
    hosts = int(ceil_div(num_devices, cluster.node.num_devices))
    count = int(cluster.slow_hosts.share * hosts + 0.5)
    return tuple(int(hosts * (i * _GOLDEN % 1.0)) for i in range(1, count + 1))


def forward_speeds(cluster: Cluster, num_devices: int) -> dict[int, float]:
    """Global rank -> its relative speed in forwards, for ranks on slow hosts."""
    if cluster.slow_hosts is None:
        return {}
    size, speed = cluster.node.num_devices, 1.0 / cluster.slow_hosts.forward
    return {
        rank: speed
        for host in slow_host_ids(cluster, num_devices)
        for rank in range(host * size, min((host + 1) * size, num_devices))
    }
