"""Where a difference comes from: the terms of two reports, subtracted."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.report.breakdown import worst_rank
from simulator.report.report import MEMORY_TERMS, TIME_TERMS, Report


def time_difference_s(report: Report, reference: Report) -> dict[str, float]:
    """Term -> seconds per step more than in the reference; they sum to the whole difference."""
    return _minus(report.time, reference.time, TIME_TERMS)


def memory_difference_bytes(report: Report, reference: Report) -> dict[str, float]:
    """Term -> bytes more on the worst rank; they sum to the difference of the peaks."""
    return _minus(_worst_terms(report), _worst_terms(reference), MEMORY_TERMS)


def tokens_per_step(report: Report) -> float:
    """Tokens of a step of the whole job."""
    return report.tokens_per_s * report.step_time_s


def device_seconds_per_token(report: Report) -> dict[str, float]:
    """Term -> devices * seconds / tokens: what a token costs, whatever the batch and machine."""
    scale = report.devices / tokens_per_step(report)
    return {term: scale * report.time.get(term, 0.0) for term in TIME_TERMS}


def cost_difference(report: Report, reference: Report) -> dict[str, float]:
    """Term -> device-seconds per token more than in the reference."""
    return _minus(device_seconds_per_token(report), device_seconds_per_token(reference), TIME_TERMS)


def efficiency(report: Report, first: Report) -> float:
    """Tokens per second and device over those of another run."""
    return report.tokens_per_s_per_device / first.tokens_per_s_per_device


def losses(report: Report, first: Report) -> dict[str, float]:
    """Term -> share of the efficiency that it takes; they sum to 1 - efficiency.

    With c the device-seconds per token of a run, efficiency = c_first / c, so that
    1 - efficiency = sum over terms (c_term - c_first,term) / c. A negative share is a gain.
    """
    whole = report.devices * report.step_time_s / tokens_per_step(report)
    return {term: value / whole for term, value in cost_difference(report, first).items()}


def largest_loss(shares: Mapping[str, float]) -> str | None:
    """The term that takes most; None where none takes anything."""
    term = max(shares, key=lambda name: shares[name], default=None)
    return term if term is not None and shares[term] > 0 else None


def _worst_terms(report: Report) -> Mapping[str, float]:
    rank = worst_rank(report)
    return rank.terms if rank is not None else {}


def _minus(
    terms: Mapping[str, float], others: Mapping[str, float], order: tuple[str, ...]
) -> dict[str, float]:
    return {term: terms.get(term, 0.0) - others.get(term, 0.0) for term in order}
