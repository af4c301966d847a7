"""Point-to-point messages."""

from __future__ import annotations

from simulator.machine import PathLink
from simulator.numeric import Numeric


def p2p_s(payload_bytes: Numeric, path: PathLink) -> Numeric:
    """One message: latency + payload / bandwidth.

    Source: Hockney's model. Measured: 67 MB over NVLink takes 294 us on A100 and 193 us on H100
        (microsoft/vidur, data/profiling/network).
    """
    return path.latency_s + payload_bytes / path.bandwidth_bytes_per_s
