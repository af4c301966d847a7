"""Collectives: one algorithm per file, and the table that chooses among them."""

from simulator.cost.collective.select import ALGORITHMS, Algorithm, collective_s, weighs_rings
from simulator.cost.collective.volume import CollectiveKind, bus_bytes

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "CollectiveKind",
    "bus_bytes",
    "collective_s",
    "weighs_rings",
]
