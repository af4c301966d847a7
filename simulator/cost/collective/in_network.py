"""All-reduce inside the switch of one node (NVLink SHARP)."""

from __future__ import annotations

import numpy as np

from simulator.cost.collective.volume import CollectiveKind, bus_bytes
from simulator.machine import GroupLink
from simulator.numeric import Numeric


def in_network_s(kind: CollectiveKind, payload_bytes: Numeric, link: GroupLink) -> Numeric:
    """The switch adds: b + V / B without steps; infinite where it cannot.

    B is a bus bandwidth and may exceed the link's, as every rank sends its data only once.

    Source: NVIDIA/nccl v2.30.7, src/graph/tuning.cc (NVLS); fitted on the nccl-tests tables of
        NVIDIA ai-dynamo/aiconfigurator.
    """
    available = (link.in_network_bytes_per_s > 0.0) & (link.num_nodes == 1.0)
    bandwidth = np.where(available, link.in_network_bytes_per_s, 1.0)
    transfer_s = bus_bytes(kind, payload_bytes, link.size) / bandwidth
    return np.where(available, link.in_network_base_s + transfer_s, np.inf)
