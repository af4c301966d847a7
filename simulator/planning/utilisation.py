"""A measured throughput as a utilisation, under every convention, and what may be wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

from simulator.errors import SpecError
from simulator.flops import CONVENTIONS, FlopsConvention, megatron_causal_flops
from simulator.machine import Accelerator
from simulator.model import TransformerConfig
from simulator.report.breakdown import FLOPS_LABELS

ALL_CONVENTIONS: Final[Mapping[str, FlopsConvention]] = {
    **CONVENTIONS,
    "megatron_causal": megatron_causal_flops,
}
CONVENTION_LABELS: Final[Mapping[str, str]] = {
    **FLOPS_LABELS,
    "megatron_causal": "as megatron_model, attention halved by the causal mask",
}
_SAME: Final = 0.02
"""Relative difference up to which two utilisations count as the same number."""
_SPARSE: Final = frozenset({"ampere", "ada", "hopper", "blackwell", "cdna3"})
"""Architectures whose data sheets also state a peak for 2:4 sparse products."""
_MOST_DEVICES: Final = 1024


@dataclass(frozen=True, slots=True)
class Measurement:
    """A throughput and where it was measured.

    Attributes:
        tokens_per_s: of the whole job.
    """

    model: TransformerConfig
    seq_length: int
    accelerator: Accelerator
    precision: str
    tokens_per_s: float
    devices: int

    @property
    def peak_flops_per_s(self) -> float:
        """Dense peak of one device.

        Raises:
            SpecError: if the accelerator has no such precision.
        """
        peaks = self.accelerator.peak_flops_per_s
        if self.precision not in peaks:
            raise SpecError(
                f"accelerator {self.accelerator.name} has no precision '{self.precision}'",
                where="--precision",
                hint=f"it has {', '.join(peaks)}",
            )
        return peaks[self.precision]


@dataclass(frozen=True, slots=True)
class Utilisation:
    """A throughput under one convention.

    Attributes:
        flops_per_token: of the convention.
        flops_per_s_per_device: tokens/s / devices * FLOPs per token.
        utilisation: that over the dense peak.
    """

    convention: str
    counts: str
    flops_per_token: float
    flops_per_s_per_device: float
    utilisation: float


@dataclass(frozen=True, slots=True)
class Hint:
    """Something that would change a utilisation, and to what."""

    words: str
    utilisation: float


@dataclass(frozen=True, slots=True)
class Reported:
    """A utilisation that somebody printed.

    Attributes:
        utilisation: as a fraction.
        origins: conventions and mistakes that give it.
    """

    utilisation: float
    origins: tuple[Hint, ...]


def utilisations(measured: Measurement) -> tuple[Utilisation, ...]:
    """Every convention, in the order of ``ALL_CONVENTIONS``.

    utilisation = tokens/s / devices * FLOPs per token / dense peak.
    """
    rows: list[Utilisation] = []
    for name, count in ALL_CONVENTIONS.items():
        per_token = count(measured.model, 1, measured.seq_length) / measured.seq_length
        rate = measured.tokens_per_s / measured.devices * per_token
        label = CONVENTION_LABELS[name]
        rows.append(Utilisation(name, label, per_token, rate, rate / measured.peak_flops_per_s))
    return tuple(rows)


def attainable(measured: Measurement) -> float:
    """Share of the dense peak that long, large products sustain on the accelerator.

    peak_fraction * sustained_fraction, as fitted on measured products (catalogue).
    """
    curve = measured.accelerator.gemm
    factor = curve.precision_fraction.get(measured.precision, 1.0)
    return min(curve.peak_fraction * curve.sustained_fraction * factor, 1.0)


def warnings(measured: Measurement, others: Sequence[Accelerator]) -> tuple[str, ...]:
    """What is impossible or doubtful about a measurement, with the mistakes that explain it.

    Judged by the convention nearest to the work that is executed: causal attention counted once.

    Args:
        measured: throughput and where it was measured.
        others: accelerators that it might have been measured on instead.
    """
    share = _executed(measured)
    limit = attainable(measured)
    if share <= limit:
        return ()
    verdict = (
        f"{100 * share:.1f} % of the dense peak is impossible"
        if share > 1
        else f"{100 * share:.1f} % is more than the {100 * limit:.1f} % of the dense peak that "
        f"large products sustain on {measured.accelerator.name}"
    )
    found = explanations(measured, others)
    return (verdict, *(f"{hint.words}: {100 * hint.utilisation:.1f} %" for hint in found))


def explanations(measured: Measurement, others: Sequence[Accelerator]) -> tuple[Hint, ...]:
    """Common mistakes that would turn a too high utilisation into a possible one."""
    share, limit, peak = _executed(measured), attainable(measured), measured.peak_flops_per_s
    peaks = measured.accelerator.peak_flops_per_s
    devices = next(
        (n for n in _powers_of_two(_MOST_DEVICES) if share / n <= limit and n > 1), _MOST_DEVICES
    )
    hints = [
        Hint(
            f"the tokens are those of {measured.devices * devices:,} devices, not of "
            f"{measured.devices:,}",
            share / devices,
        ),
        *(
            Hint(f"the products ran in {name}, peak {rate / 1e12:.4g} TFLOP/s", share * peak / rate)
            for name, rate in peaks.items()
            if rate > peak * (1 + _SAME)
        ),
        Hint("only forward passes were timed, a third of the work", share / 3),
        *(
            [Hint("products used 2:4 sparsity, whose peak is twice the dense one", share / 2)]
            if measured.accelerator.architecture in _SPARSE
            else []
        ),
        *(
            Hint(f"it ran on {a.name}", share * peak / a.peak_flops_per_s[measured.precision])
            for a in others[:1]
        ),
    ]
    return tuple(hint for hint in hints if hint.utilisation <= limit)


def faster_accelerators(measured: Measurement, known: Sequence[Accelerator]) -> list[Accelerator]:
    """Accelerators on which the throughput would be possible, slowest first."""
    needed = _executed(measured) * measured.peak_flops_per_s
    peaks = [(a.peak_flops_per_s.get(measured.precision, 0.0), a.name, a) for a in known]
    able = [(p, n, a) for p, n, a in peaks if p * attainable(measured) >= needed]
    return [accelerator for _, _, accelerator in sorted(able, key=lambda row: row[:2])]


def origins_of(measured: Measurement, reported: float) -> tuple[Hint, ...]:
    """Conventions and mistakes under which this throughput gives a reported utilisation.

    Every convention, with the dense peak, with the sparse one (twice, where there is one), with
    multiply-adds counted as one operation (half the FLOPs) or twice over, with the peaks of the
    other precisions, and with the tokens of all devices over the peak of one.

    Args:
        measured: throughput and where it was measured.
        reported: the utilisation that somebody printed, as a fraction.
    """
    peak = measured.peak_flops_per_s
    factors: dict[str, float] = {
        "dense peak": 1.0,
        "multiply-adds counted as one operation": 0.5,
        "multiply-adds counted twice over": 2.0,
    } | {
        f"peak of {name}": peak / rate
        for name, rate in measured.accelerator.peak_flops_per_s.items()
        if abs(rate / peak - 1) > _SAME
    }
    if measured.accelerator.architecture in _SPARSE:
        factors["sparse peak, twice the dense one"] = 0.5
    if measured.devices > 1:
        factors[f"tokens of all {measured.devices} devices over the peak of one"] = measured.devices
    found = [
        Hint(f"{row.convention}, {words}", row.utilisation * factor)
        for row, (words, factor) in product(utilisations(measured), factors.items())
    ]
    near = [hint for hint in found if abs(hint.utilisation / reported - 1) <= _SAME]
    return tuple(sorted(near, key=lambda hint: abs(hint.utilisation - reported)))


def parse_fraction(text: str) -> float:
    """A utilisation as ``45 %``, ``45%`` or ``0.45``.

    Raises:
        SpecError: if it is none of these.
    """
    number, percent, rest = text.strip().partition("%")
    try:
        value = float(number) / (100 if percent else 1)
    except ValueError:
        value = 0.0
    if rest.strip() or not 0 < value < 1e3:
        raise SpecError(
            f"'{text[:40]}' is no utilisation", where="--reported", hint="write 45% or 0.45"
        )
    return value


def _executed(measured: Measurement) -> float:
    rows = {row.convention: row.utilisation for row in utilisations(measured)}
    return rows["megatron_causal" if measured.model.causal else "megatron_model"]


def _powers_of_two(most: int) -> tuple[int, ...]:
    return tuple(1 << k for k in range(most.bit_length()))
