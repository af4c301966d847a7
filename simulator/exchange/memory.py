"""What a policy adds to the memory of every rank."""

from __future__ import annotations

from dataclasses import replace

from simulator.report.report import MemoryReport, OutOfMemory, RankMemory


def with_states(memory: MemoryReport, state_bytes: float) -> MemoryReport:
    """The memory of a worker's ranks, and a term ``exchange`` that is there all the time.

    Args:
        memory: of a worker by itself.
        state_bytes: what every rank keeps for the policy.
    """
    return _judged(memory, tuple(_with_term(rank, state_bytes) for rank in memory.rank_classes))


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


def _judged(memory: MemoryReport, ranks: tuple[RankMemory, ...]) -> MemoryReport:
    """A report of these ranks: the worst of them, and whether it fits."""
    worst = max(ranks, key=lambda rank: rank.peak_bytes)
    on_device = worst.peak_bytes <= memory.capacity_bytes
    short = None
    if not on_device:
        largest = max(worst.terms, key=lambda term: worst.terms[term])
        short = OutOfMemory(worst.peak_bytes, memory.capacity_bytes, largest, ())
    return replace(
        memory,
        fits=on_device and all(tier.fits for tier in memory.tiers),
        peak_bytes=worst.peak_bytes,
        worst_rank_class=worst.rank_class,
        rank_classes=ranks,
        out_of_memory=short or (memory.out_of_memory if memory.tiers else None),
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
