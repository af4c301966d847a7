"""Which memory of a job is too small, if one is: the one place that decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from simulator.report.breakdown import TIER_LABELS, gigabytes
from simulator.report.report import MemoryReport

DEVICE: Final = "device memory"


@dataclass(frozen=True, slots=True)
class Shortage:
    """A memory that is too small.

    Attributes:
        where: whose, in words.
        demand_bytes, usable_bytes: what is needed, and what may be filled.
        term: what takes most of it.
        memory: its kind, in words.
    """

    where: str
    demand_bytes: float
    usable_bytes: float
    term: str
    memory: str

    def __str__(self) -> str:
        """``90 GB of 80 GB on pipeline rank 0``."""
        return f"{gigabytes(self.demand_bytes)} of {gigabytes(self.usable_bytes)} on {self.where}"


def shortage(memory: MemoryReport, share: float = 1.0) -> Shortage | None:
    """The memory that is exceeded most, None if all of them suffice.

    Args:
        memory: of a job, on every level.
        share: of each memory that may be filled.
    """
    worst = max(memory.rank_classes, key=lambda rank: rank.peak_bytes)
    found = [
        Shortage(
            worst.rank_class,
            memory.peak_bytes,
            share * memory.capacity_bytes,
            _largest(worst.terms),
            DEVICE,
        )
    ]
    found += [
        Shortage(
            f"the {TIER_LABELS[tier.name]} of a node",
            tier.demand_bytes,
            share * tier.capacity_bytes,
            _largest(tier.terms),
            TIER_LABELS[tier.name],
        )
        for tier in memory.tiers
    ]
    short = [one for one in found if one.demand_bytes > one.usable_bytes]
    return max(short, key=lambda one: one.demand_bytes / one.usable_bytes, default=None)


def short_of(memory: MemoryReport) -> str:
    """Kind of memory that is exceeded most, in words; empty if all of them suffice."""
    short = shortage(memory)
    return "" if short is None else short.memory


def beyond_device(short: str, joint: str) -> str:
    """`` in host memory``, for tables that show the memory of the device; else empty."""
    return "" if short in ("", DEVICE) else f" {joint} {short}"


def _largest(terms: Mapping[str, float]) -> str:
    return max(terms, key=lambda name: terms[name])
