"""A product and the reduce-scatter of its result, cut into chunks that follow one another."""

from __future__ import annotations

from typing import Final

from simulator.numeric import Numeric

_FEEDING_SMS: Final = 9.737
"""c0, SMs whose loads and stores alone take as long as the links do.

Source: T3 (arXiv 2401.16677): on 8 of 80 compute units a ring reduce-scatter takes
    1.41 times as long, on 16 1.07 times. Both are met by this value and exponent, by hand:
    (1 + (9.737 / 8)^3)^(1/3) = 1.41 and (1 + (9.737 / 16)^3)^(1/3) = 1.07.
Assumes: the same number feeds the links of other devices.
"""
_SM_EXPONENT: Final = 3.0
"""p of the p-norm that joins the time of the links and that of the SMs. Source: as above."""


def chunked_s(product_s: Numeric, scatter_s: Numeric, chunks: Numeric) -> Numeric:
    """G / C + (C - 1) max(G, R) / C + R / C: the first chunk is made, the last one sent, alone.

    Args:
        product_s: G, the whole product.
        scatter_s: R, the whole reduce-scatter.
        chunks: C, at least 1; with 1 they follow one another.
    """
    longer = 0.5 * (product_s + scatter_s + abs(product_s - scatter_s))
    return (product_s + scatter_s + (chunks - 1.0) * longer) / chunks


def sm_slowdown(communication_sms: Numeric) -> Numeric:
    """(1 + (c0 / c)^3)^(1/3): a reduce-scatter on c SMs over one that only the links bound."""
    return (1.0 + (_FEEDING_SMS / communication_sms) ** _SM_EXPONENT) ** (1.0 / _SM_EXPONENT)


def near_memory_bytes(bus_bytes: Numeric) -> Numeric:
    """DRAM traffic of a ring reduce-scatter whose sums memory itself makes: 2 V.

    What arrives is added where it lies, V; what leaves is read, V. Kernels read the sum so far and
    what arrived, and write.

    Source: T3 (arXiv 2401.16677).
    """
    return 2.0 * bus_bytes
