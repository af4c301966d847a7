"""What renderers share: the words for terms, their order, and the way from peak to achieved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from simulator.report.report import MEMORY_TERMS, RANGE_BASIS, TIME_TERMS, RankMemory, Report
from simulator.units import format_seconds, format_si

TIME_LABELS: Final[Mapping[str, str]] = {
    "compute": "compute",
    "recompute": "recompute",
    "tp_comm": "exposed tensor-parallel comm",
    "ep_comm": "exposed expert-parallel comm",
    "cp_comm": "exposed context-parallel comm",
    "pp_comm": "exposed pipeline comm",
    "dp_comm": "exposed data-parallel comm",
    "offload": "exposed host and NVMe copies",
    "optimizer": "optimizer",
    "overhead": "overhead",
    "bubble": "pipeline bubble",
}
"""Term of ``Report.time`` -> words."""

MEMORY_LABELS: Final[Mapping[str, str]] = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer moments",
    "master_weights": "master weights",
    "activations": "activations",
    "logits": "logits",
    "buffers": "buffers",
    "framework": "framework",
    "communicators": "communicators",
    "fragmentation": "fragmentation",
}
"""Term of ``RankMemory.terms`` -> words."""

TIER_LABELS: Final[Mapping[str, str]] = {"host": "host memory", "nvme": "NVMe"}
"""Level of a node beyond its devices -> words."""

TIER_TERM_LABELS: Final[Mapping[str, str]] = {**MEMORY_LABELS, "pinned": "page-locked buffers"}
"""Term of ``TierMemory.terms`` -> words."""

RANGE_NOTE: Final = "90 % range"
"""What the bounds of a step time are called."""

FLOPS_LABELS: Final[Mapping[str, str]] = {
    "palm": "PaLM model FLOPs: 6 N + 12 L H Q s per token (MFU)",
    "hardware": "executed FLOPs, recompute counted (HFU)",
    "megatron_model": "Megatron model: 72 B s L h^2 (1 + s/6h + V/12Lh)",
    "megatron_hardware": "Megatron hardware: 96 B s L h^2 (1 + s/6h + V/16Lh)",
    "6n": "6 N per token, no attention",
    "8n": "8 N per token, no attention, full recompute",
}
"""Convention of ``Report.flops`` -> words."""

# The order in which a reader expects losses: what the kernels lose first, then what stands between
# them. Terms of ``TIME_TERMS`` that are no loss (compute) are not in it.
_LOSS_ORDER: Final = (
    "recompute",
    "tp_comm",
    "ep_comm",
    "cp_comm",
    "pp_comm",
    "dp_comm",
    "offload",
    "bubble",
    "optimizer",
    "overhead",
)


@dataclass(frozen=True, slots=True)
class WaterfallStep:
    """One step of the way down from the dense peak.

    Attributes:
        name: what is lost, or ``dense peak`` and ``achieved (MFU)`` for the two totals.
        before, after: fractions of the dense peak; a total has ``before`` 0.
        is_total: it stands for a level, not for a loss.
    """

    name: str
    before: float
    after: float
    is_total: bool = False

    @property
    def change(self) -> float:
        """Fraction of the peak this step adds (negative for a loss)."""
        return self.after - self.before


def ordered_terms(terms: Mapping[str, float], order: Sequence[str]) -> list[tuple[str, float]]:
    """Terms in the agreed order, those not in it last and by name."""
    known = [(name, terms[name]) for name in order if name in terms]
    return known + sorted((name, value) for name, value in terms.items() if name not in order)


def time_terms(report: Report) -> list[tuple[str, float]]:
    """Terms of the step in the order of ``TIME_TERMS``; those that are zero are left out."""
    return [(name, value) for name, value in ordered_terms(report.time, TIME_TERMS) if value]


def memory_terms(memory: RankMemory) -> list[tuple[str, float]]:
    """Terms of a rank's peak in the order of ``MEMORY_TERMS``; those that are zero are left out."""
    return [(name, value) for name, value in ordered_terms(memory.terms, MEMORY_TERMS) if value]


def worst_rank(report: Report) -> RankMemory | None:
    """The rank class with the highest peak, None where the report lists no classes."""
    worst = report.memory.worst_rank_class
    return next((c for c in report.memory.rank_classes if c.rank_class == worst), None)


def fraction(part: float, whole: float) -> float:
    """The ratio part / whole, 0 when there is no whole."""
    return part / whole if whole else 0.0


def waterfall(report: Report) -> list[WaterfallStep]:
    """From the dense peak to the achieved MFU, in fractions of the peak.

    A term that takes t of a step of T seconds costs t / T of the peak. What remains of the compute
    time, compute / T - mfu, is what kernels lose while they run.

    Assumes: the critical rank does an average share of the model FLOPs; where stages are uneven
    the first loss holds that difference too.
    """
    step_s = report.step_time_s
    kernel_loss = fraction(report.time.get("compute", 0.0), step_s) - report.mfu
    losses = [("kernels below peak", kernel_loss)]
    for name, seconds in ordered_terms(report.time, _LOSS_ORDER):
        if name != "compute" and seconds:
            losses.append((TIME_LABELS.get(name, name), fraction(seconds, step_s)))
    level = 1.0
    steps = [WaterfallStep("dense peak", 0.0, level, is_total=True)]
    for name, loss in losses:
        steps.append(WaterfallStep(name, level, level - loss))
        level -= loss
    return [*steps, WaterfallStep("achieved (MFU)", 0.0, report.mfu, is_total=True)]


def scenario_name(report: Report) -> str:
    """The scenario's ``name``."""
    return str(report.scenario.get("name", "unnamed scenario"))


def dense_peak_flops_per_s(report: Report) -> float:
    """Dense peak of one device at the declared precision: achieved / MFU."""
    return fraction(report.model_flops_per_s_per_device, report.mfu)


def seconds(value: float) -> str:
    """A duration, four digits: ``12.35 s``, ``418.2 ms``."""
    return format_seconds(value, digits=4)


def gigabytes(value: float) -> str:
    """An amount of memory, four digits: ``61.23 GB``."""
    return format_si(value, "B", digits=4)


def flops_rate(value: float) -> str:
    """A rate of FLOPs, four digits: ``150.3 TFLOP/s``."""
    return format_si(value, "FLOP/s", digits=4)


def count(value: float) -> str:
    """A number of tokens or FLOPs: thousands grouped, or a power of ten when it is huge."""
    if abs(value) >= 1e12:
        return f"{value:.3e}"
    if 0 < abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:,.0f}" if math.isfinite(value) else str(value)


def step_time_range(report: Report) -> str:
    """``90 % range 1.2 s to 1.4 s, from 18 calibration runs``, empty where there is none."""
    low, high = report.step_time_low_s, report.step_time_high_s
    if low is None or high is None:
        return ""
    basis = report.provenance.get(RANGE_BASIS, "")
    return f"{RANGE_NOTE} {seconds(low)} to {seconds(high)}" + (f", {basis}" if basis else "")
