"""Groups of devices on a torus (TPU pods): which axes they span and how wide those are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from simulator.machine import Torus


@dataclass(frozen=True, slots=True)
class TorusSpan:
    """What a group uses of the torus.

    Attributes:
        bytes_per_s: bus bandwidth of its collectives, summed over the axes it spans.
        bucket_bytes_per_s: the same where one axis follows another, each with what is left.
        steps: links a message passes from one end to the other, over all axes.
        longest: devices of the group along its longest axis.
        exchange_bytes_per_s: of an all-to-all, what a device sends to others over its time.
    """

    bytes_per_s: float
    steps: int
    longest: int
    bucket_bytes_per_s: float = 0.0
    exchange_bytes_per_s: float = 0.0


def torus_span(size: int, stride: int, torus: Torus) -> TorusSpan:
    """Bandwidth of a group of ``size`` devices, ``stride`` apart; the first axis varies fastest.

    Along an axis the group's ring uses both directions, 2 W with wrap links, and W without: a
    line carries every byte in each direction once. Groups that interleave on an axis share it.

    An all-to-all goes along all axes at once, each on its own links, and takes as long as the
    slowest: of n devices with S each, n S / 4 cross the middle of an axis of N devices each way,
    over n / N lines, which are cut twice where they wrap: S N / (8 W), without wrap links
    S N / (4 W).

    Source: jax-ml/scaling-book, "How to think about TPUs": an all-gather of S takes S / (2 W n)
        over n axes; the all-to-all is the bound of the bisection, which dimension-order routes
        reach.
    """
    bandwidth, steps, longest = 0.0, 0, 1
    place, left, bucket_s, exchange_s = 1, 1.0, 0.0, 0.0
    for axis, length in enumerate(torus.shape):
        first, last = max(stride, place), min(stride * size, place * length)
        extent = math.ceil(last / first)
        if extent > 1:
            interleaved = first // place
            wrapped = _wraps(torus, axis) and extent * interleaved >= length
            directions = 2 if wrapped and extent > 2 else 1
            axis_bandwidth = directions * torus.link_bytes_per_s / interleaved
            bandwidth += axis_bandwidth
            bucket_s += left * (1 - 1 / extent) / axis_bandwidth
            exchange_s = max(exchange_s, extent / (4 * axis_bandwidth))
            left /= extent
            steps += (extent // 2 if wrapped else extent - 1) * interleaved
            longest = max(longest, extent)
        place *= length
    if longest == 1:
        return TorusSpan(0.0, 0, 1)
    exchange = (1 - 1 / size) / exchange_s
    return TorusSpan(bandwidth, steps, longest, (1 - left) / bucket_s, exchange)


def torus_steps(rank_a: int, rank_b: int, torus: Torus) -> int:
    """Links on the shortest way between two devices."""
    steps = 0
    for axis, length in enumerate(torus.shape):
        rank_a, a = divmod(rank_a, length)
        rank_b, b = divmod(rank_b, length)
        distance = abs(a - b)
        steps += min(distance, length - distance) if _wraps(torus, axis) else distance
    return steps


def _wraps(torus: Torus, axis: int) -> bool:
    return torus.wraps[axis] if torus.wraps else True
