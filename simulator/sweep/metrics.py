"""What a row of a sweep may say of its point."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from simulator.errors import SpecError, UnknownNameError
from simulator.report.report import TIME_TERMS, Report

Metric: TypeAlias = Callable[[Report], float | None]


def _time(term: str) -> Metric:
    return lambda report: report.time.get(term, 0.0)


METRICS: Final[Mapping[str, Metric]] = {
    "step_time_s": lambda r: r.step_time_s,
    "step_time_low_s": lambda r: r.step_time_low_s,
    "step_time_high_s": lambda r: r.step_time_high_s,
    "tokens_per_s": lambda r: r.tokens_per_s,
    "tokens_per_s_per_device": lambda r: r.tokens_per_s_per_device,
    "model_flops_per_s_per_device": lambda r: r.model_flops_per_s_per_device,
    "mfu": lambda r: r.mfu,
    "hfu": lambda r: r.hfu,
    "devices": lambda r: float(r.devices),
    "peak_memory_bytes": lambda r: r.memory.peak_bytes,
    "memory_headroom_bytes": lambda r: r.memory.capacity_bytes - r.memory.peak_bytes,
    **{f"{term}_s": _time(term) for term in TIME_TERMS},
}
"""Metric -> its value of a report, in SI. ``<term>_s`` are the terms of the step time."""

USUAL: Final = ("step_time_s", "tokens_per_s", "mfu", "hfu", "devices", "peak_memory_bytes")
"""Metrics of a sweep that names none."""


def chosen_metrics(names: Sequence[str] | None, where: str) -> tuple[str, ...]:
    """The metrics of a sweep, or the usual ones.

    Raises:
        UnknownNameError: if there is no such metric.
        SpecError: if one is named twice.
    """
    chosen = USUAL if names is None else tuple(names)
    for name in chosen:
        if name not in METRICS:
            raise UnknownNameError.of("metric", name, METRICS, where=f"{where}: metrics")
        if chosen.count(name) > 1:
            raise SpecError(f"'{name}' is named twice", where=f"{where}: metrics")
    return chosen
