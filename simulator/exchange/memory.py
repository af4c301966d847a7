"""What a policy adds to the memory of every rank."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from simulator.report.report import MemoryReport, OutOfMemory, RankMemory, TierMemory

_OF_OPTIMIZER: Final = ("optimizer", "master_weights")


def with_states(
    memory: MemoryReport, state_bytes: float, host_bytes: float, host: TierMemory
) -> MemoryReport:
    """The memory of a worker's ranks, and a term ``exchange`` that is there all the time.

    Args:
        memory: of a worker by itself, nothing of which lives off its devices.
        state_bytes: what every rank keeps for the policy.
        host_bytes: the same in host memory.
        host: of a node, with the bytes of all its ranks.
    """
    ranks = tuple(_with_term(rank, state_bytes) for rank in memory.rank_classes)
    if not host_bytes:
        return _judged(memory, ranks)
    away = {"host": {"exchange": host_bytes}}
    ranks = tuple(replace(rank, elsewhere=away) for rank in ranks)
    return _judged(replace(memory, tiers=(host,)), ranks)


def without_optimizer(memory: MemoryReport) -> MemoryReport:
    """The memory of ranks whose weights are updated elsewhere: no moments, no master weights."""
    return _judged(memory, tuple(_without_terms(rank) for rank in memory.rank_classes))


def of_all_workers(memory: MemoryReport, workers: int) -> MemoryReport:
    """The same memory, counted for the ranks of all workers."""
    ranks = (replace(r, num_ranks=r.num_ranks * workers) for r in memory.rank_classes)
    return replace(memory, rank_classes=tuple(ranks))


def _with_term(rank: RankMemory, state_bytes: float) -> RankMemory:
    return replace(
        rank,
        peak_bytes=rank.peak_bytes + state_bytes,
        terms={**rank.terms, "exchange": state_bytes},
        history_bytes=tuple(held + state_bytes for held in rank.history_bytes),
    )


def _without_terms(rank: RankMemory) -> RankMemory:
    gone = sum(rank.terms.get(term, 0.0) for term in _OF_OPTIMIZER)
    return replace(
        rank,
        peak_bytes=rank.peak_bytes - gone,
        terms={**rank.terms, **dict.fromkeys(_OF_OPTIMIZER, 0.0)},
        history_bytes=tuple(held - gone for held in rank.history_bytes),
    )


def _judged(memory: MemoryReport, ranks: tuple[RankMemory, ...]) -> MemoryReport:
    """A report of these ranks: the worst of them, and whether it fits."""
    worst = max(ranks, key=lambda rank: rank.peak_bytes)
    on_device = worst.peak_bytes <= memory.capacity_bytes
    full = next((tier for tier in memory.tiers if not tier.fits), None)
    short = None
    if not on_device:
        largest = max(worst.terms, key=lambda term: worst.terms[term])
        short = OutOfMemory(worst.peak_bytes, memory.capacity_bytes, largest, ())
    elif full is not None:
        largest = max(full.terms, key=lambda term: full.terms[term])
        short = OutOfMemory(full.demand_bytes, full.capacity_bytes, largest, (), full.name)
    return replace(
        memory,
        fits=short is None,
        peak_bytes=worst.peak_bytes,
        worst_rank_class=worst.rank_class,
        rank_classes=ranks,
        out_of_memory=short,
    )


def inference_only(memory: MemoryReport, terms: dict[str, float], num_ranks: int) -> MemoryReport:
    """Memory of one class of ranks that only run forwards.

    Args:
        memory: whose capacity counts.
        terms: bytes by term.
        num_ranks: of the job.
    """
    peak = sum(terms.values())
    rank = RankMemory("rank", num_ranks, peak, 0.0, 1.0, terms, (0.0,), (peak,))
    return _judged(replace(memory, tiers=()), (rank,))
