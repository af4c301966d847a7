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
    """

    bytes_per_s: float
    steps: int
    longest: int
    bucket_bytes_per_s: float = 0.0


def torus_span(size: int, stride: int, torus: Torus) -> TorusSpan:
    """Bandwidth of a group of ``size`` devices, ``stride`` apart; the first axis varies fastest.

    Along an axis the group's ring uses both directions, 2 W with wrap links, and W without: a
    line carries every byte in each direction once. Groups that interleave on an axis share it.

    Source: jax-ml/scaling-book, "How to think about TPUs": an all-gather of S takes S / (2 W n)
        over n axes.
    """
    bandwidth, steps, longest = 0.0, 0, 1
    place, left, bucket_s = 1, 1.0, 0.0
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
            left /= extent
            steps += (extent // 2 if wrapped else extent - 1) * interleaved
            longest = max(longest, extent)
        place *= length
    return TorusSpan(bandwidth, steps, longest, (1 - left) / bucket_s if bucket_s else 0.0)


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
