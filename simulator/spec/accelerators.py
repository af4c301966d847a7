"""Schema of ``hardware/accelerators/*.yaml`` and its conversion to ``machine.Accelerator``."""

from __future__ import annotations

from pydantic import Field, field_validator

from simulator.errors import SpecError
from simulator.machine import (
    Accelerator,
    AttentionCurve,
    GemmCurve,
    MemoryCurve,
    Precision,
)
from simulator.plan import AttentionKernel
from simulator.spec.quantity import (
    AssumptionSpec,
    Bytes,
    BytesPerSecond,
    Count,
    FlopsPerSecond,
    Fraction,
    FractionOrZero,
    NotNegative,
    PeakFraction,
    Positive,
    Seconds,
    Sourced,
    Text,
    Watts,
    assumptions,
)
from simulator.spec.validate import Spec

MEMORY_KERNELS = (
    "add",
    "gelu",
    "layernorm",
    "softmax",
    "dropout",
    "cross_entropy",
    "copy",
    "adam",
    "swiglu",
    "rmsnorm",
)
"""Kernel families that ``memory_bound.fraction`` must give."""


class GemmSpec(Spec):
    """Constants of ``machine.GemmCurve``."""

    source: Text
    peak_fraction: PeakFraction
    sustained_fraction: Fraction
    droop: Seconds
    launch: Seconds
    tile: Seconds
    wave_quantisation: FractionOrZero
    bandwidth_fraction: Fraction
    overlap_exponent: Positive
    small_tile_penalty: NotNegative
    split: Seconds
    precision_fraction: dict[Precision, Sourced[PeakFraction]] = Field(
        default_factory=dict[Precision, Sourced[PeakFraction]]
    )

    def curve(self) -> GemmCurve:
        """The frozen form."""
        return GemmCurve(
            peak_fraction=self.peak_fraction,
            sustained_fraction=self.sustained_fraction,
            droop_s=self.droop,
            launch_s=self.launch,
            tile_s=self.tile,
            wave_quantisation=self.wave_quantisation,
            bandwidth_fraction=self.bandwidth_fraction,
            overlap_exponent=self.overlap_exponent,
            small_tile_penalty=self.small_tile_penalty,
            split_s=self.split,
            precision_fraction={p: share.value for p, share in self.precision_fraction.items()},
        )


class AttentionSpec(Spec):
    """Constants of ``machine.AttentionCurve`` at one head dimension."""

    source: Text
    forward: FlopsPerSecond
    ramp_tokens: NotNegative
    launch: Seconds
    wave_quantisation: FractionOrZero

    def curve(self) -> AttentionCurve:
        """The frozen form."""
        return AttentionCurve(self.forward, self.ramp_tokens, self.launch, self.wave_quantisation)


class MemoryBoundSpec(Spec):
    """Constants of ``machine.MemoryCurve``."""

    source: Text
    launch: Seconds
    fraction: dict[str, Fraction]

    @field_validator("fraction")
    @classmethod
    def _complete(cls, fraction: dict[str, float]) -> dict[str, float]:
        if set(fraction) != set(MEMORY_KERNELS):
            wrong = sorted(set(fraction) ^ set(MEMORY_KERNELS))
            raise SpecError(
                f"kernel families {', '.join(wrong)} are missing or unknown",
                hint=f"give exactly {', '.join(MEMORY_KERNELS)}",
            )
        return fraction


class AcceleratorSpec(Spec):
    """One device; peaks are dense."""

    name: Text
    architecture: Text
    num_sms: Sourced[Count]
    peak_flops: dict[Precision, Sourced[FlopsPerSecond]]
    memory: Sourced[Bytes]
    memory_bandwidth: Sourced[BytesPerSecond]
    l2: Sourced[Bytes]
    power: Sourced[Watts]
    gemm: GemmSpec
    attention: dict[AttentionKernel, dict[int, AttentionSpec]] = Field(
        default_factory=dict[AttentionKernel, dict[int, AttentionSpec]]
    )
    memory_bound: MemoryBoundSpec
    assumptions: tuple[AssumptionSpec, ...] = ()

    @field_validator("peak_flops")
    @classmethod
    def _has_peaks(
        cls, peaks: dict[Precision, Sourced[FlopsPerSecond]]
    ) -> dict[Precision, Sourced[FlopsPerSecond]]:
        if not peaks:
            raise SpecError("no peak is given", hint="give at least one, for example bf16")
        return peaks

    def build(self) -> Accelerator:
        """The frozen form."""
        return Accelerator(
            name=self.name,
            architecture=self.architecture,
            num_sms=self.num_sms.value,
            peak_flops_per_s={p: figure.value for p, figure in self.peak_flops.items()},
            memory_bytes=self.memory.value,
            memory_bandwidth_bytes_per_s=self.memory_bandwidth.value,
            l2_bytes=self.l2.value,
            power_w=self.power.value,
            gemm=self.gemm.curve(),
            attention={
                kernel: {dim: point.curve() for dim, point in sorted(points.items())}
                for kernel, points in self.attention.items()
            },
            memory=MemoryCurve(self.memory_bound.launch, dict(self.memory_bound.fraction)),
            assumptions=assumptions(self.assumptions),
        )
