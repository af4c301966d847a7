"""Bandwidth of the rings that a collective library builds among directly linked devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, permutations
from typing import TypeAlias

Links: TypeAlias = Mapping[tuple[int, int], float]
"""Bandwidth per direction of the link between two devices, the smaller number first."""
_EXACT_SIZE = 8
"""Groups up to this size are searched in full: 2520 orders."""


def ring_bandwidth(devices: Sequence[int], links: Links) -> float:
    """Summed bandwidth of link-disjoint rings through all ``devices``, 0 if there is none.

    Each ring is as fast as its slowest link and runs in both directions; two devices are one ring
    over their common link. Rings are taken greedily, the fastest first, among equals the one over
    the widest links, which leaves the thin ones to the next.

    Source: form of the ring search in NVIDIA/nccl, src/graph/search.cc.
    """
    if len(devices) < 2:
        return float("inf")
    if len(devices) == 2:
        return _between(links, devices[0], devices[1])
    free = dict(links)
    total = 0.0
    while True:
        cycle = _best_cycle(devices, free)
        slowest = min(_between(free, a, b) for a, b in cycle)
        if slowest <= 0:
            return total
        total += 2 * slowest
        for a, b in cycle:
            free[min(a, b), max(a, b)] -= slowest


def _between(links: Links, a: int, b: int) -> float:
    return links.get((min(a, b), max(a, b)), 0.0)


def _best_cycle(devices: Sequence[int], links: Links) -> list[tuple[int, int]]:
    """The cycle with the widest slowest link, as its hops."""
    orders = _all_orders(devices) if len(devices) <= _EXACT_SIZE else [_greedy(devices, links)]
    best: list[tuple[int, int]] = []
    best_score = (-1.0, -1.0)
    for order in orders:
        widths = [_between(links, a, b) for a, b in pairwise((*order, order[0]))]
        score = (min(widths), sum(widths))
        if score > best_score:
            best, best_score = list(pairwise((*order, order[0]))), score
    return best


def _all_orders(devices: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every cyclic order once: the first device is fixed, mirror images are left out."""
    first, *rest = devices
    for order in permutations(rest):
        if order[0] <= order[-1]:
            yield (first, *order)


def _greedy(devices: Sequence[int], links: Links) -> tuple[int, ...]:
    """An order that always goes on over the widest link."""
    order = [devices[0]]
    left = set(devices[1:])
    while left:
        following = max(left, key=lambda d: (_between(links, order[-1], d), -d))
        left.remove(following)
        order.append(following)
    return tuple(order)
