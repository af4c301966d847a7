"""What a collective must move, whatever algorithm runs it.

Payloads follow nccl-tests: for an all-reduce or a broadcast the buffer of one rank; for an
all-gather, a reduce-scatter or an all-to-all the whole buffer, n shards.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from simulator.numeric import Numeric

CollectiveKind: TypeAlias = Literal[
    "all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"
]


def ring_rounds(kind: CollectiveKind) -> float:
    """Times the data goes around: an all-reduce is a reduce-scatter and an all-gather."""
    return 2.0 if kind == "all_reduce" else 1.0


def bus_bytes(kind: CollectiveKind, payload_bytes: Numeric, size: Numeric) -> Numeric:
    """Bytes every rank must send: bandwidth in these terms does not depend on the group size.

    2 (n - 1) / n S for all-reduce, S for broadcast, (n - 1) / n S for the others; 0 at n = 1.

    Source: NVIDIA/nccl-tests, doc/PERFORMANCE.md.
    """
    if kind == "broadcast":
        return payload_bytes * np.minimum(size - 1.0, 1.0)
    return ring_rounds(kind) * payload_bytes * (size - 1.0) / size
