"""How far a prediction may be off: the 90 % range around a step time.

Two spreads are measured on calibration rows (``trainsim calibrate stack all``): that of a stack
inside the region in which it was calibrated, and the pooled one of stacks that have never seen a
source, by leaving every source out in turn. Between them the range widens with the distance from
the region. See ``docs/calibration.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

OWN_RANGE: Final = "from"
"""How the basis of a range begins that comes from a stack's own calibration rows."""
LEVEL: Final = 0.9
"""Share of measurements that ranges are made to cover."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a prediction is for, as far as its uncertainty depends on it.

    Attributes:
        accelerator: its name.
        devices, parameters, seq_length, micro_batch_size: sizes of the job, at least 1.
        has_experts: the model has experts; stacks are calibrated on models without.
    """

    accelerator: str
    devices: float
    parameters: float
    seq_length: float
    micro_batch_size: float
    has_experts: bool = False

    @property
    def sizes(self) -> tuple[float, ...]:
        """The sizes in the order of ``AXES``."""
        return (self.devices, self.parameters, self.seq_length, self.micro_batch_size)


AXES: Final = ("devices", "parameters", "seq_length", "micro_batch_size")
"""Sizes along which a prediction may lie outside what was calibrated."""


@dataclass(frozen=True, slots=True)
class Region:
    """Smallest and largest size along every axis of ``AXES`` among calibration rows."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def doublings_to(self, setting: Setting) -> float:
        """Distance of a setting from the region: sqrt(sum over axes of doublings outside^2)."""
        outside = (
            max(math.log2(low / size), math.log2(size / high), 0.0)
            for size, low, high in zip(setting.sizes, self.low, self.high, strict=True)
        )
        return math.hypot(*outside)


def region_of(settings: Iterable[Setting]) -> Region:
    """The smallest region that holds some settings, of which there is at least one."""
    columns = list(zip(*(setting.sizes for setting in settings), strict=True))
    return Region(tuple(map(min, columns)), tuple(map(max, columns)))


@dataclass(frozen=True, slots=True)
class PooledSpread:
    """What all calibration rows say about a stack that has not seen a source.

    Attributes:
        spread: of |log(predicted / measured)| with every source left out of the fits in turn.
        fade_doublings: distance outside its region at which half of what a stack's own
            calibration says is worth nothing any more.
        rows, sources: behind the spread.
    """

    spread: float
    fade_doublings: float
    rows: int
    sources: int


@dataclass(frozen=True, slots=True)
class StackSpread:
    """What the calibration rows of one stack say.

    Attributes:
        spread: of |log(predicted / measured)|, cross-validated; None with too few rows.
        rows: behind the spread.
        regions: accelerator -> where those rows lie.
    """

    spread: float | None
    rows: int
    regions: Mapping[str, Region]


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Both spreads as a stack carries them."""

    pooled: PooledSpread
    own: StackSpread | None = None

    def half_width(self, setting: Setting) -> float:
        """W of the range, see ``width_at``; d is the distance from the stack's region.

        Where the stack has no spread of its own it is the pooled one; on an accelerator the stack
        was not calibrated on, and for a model with experts, the larger of both.
        """
        pooled = self.pooled.spread
        if self.own is None or self.own.spread is None:
            return pooled
        region = self.own.regions.get(setting.accelerator)
        if region is None or setting.has_experts:
            return max(self.own.spread, pooled)
        return width_at(
            region.doublings_to(setting), self.own.spread, pooled, self.pooled.fade_doublings
        )

    def basis(self, setting: Setting) -> str:
        """What the range rests on, in a few words."""
        if self.own is None or not self.own.rows:
            return "stack not calibrated"
        if self.own.spread is None:
            return f"stack with too few calibration runs ({self.own.rows}) for a range of its own"
        if setting.has_experts:
            return "stack not calibrated on models with experts"
        region = self.own.regions.get(setting.accelerator)
        if region is None:
            return "stack not calibrated on this accelerator"
        doublings = region.doublings_to(setting)
        beyond = f", {doublings:.1f} doublings beyond them" if doublings > 0 else ""
        return f"{OWN_RANGE} {self.own.rows} calibration runs{beyond}"

    def range_s(self, seconds: float, setting: Setting) -> tuple[float, float]:
        """(low, high) = T exp(-w), T exp(w): covers 90 % of measurements."""
        width = math.exp(self.half_width(setting))
        return seconds / width, seconds * width


def width_at(doublings: float, own: float, pooled: float, fade_doublings: float) -> float:
    """Max(s, s f + P (1 - f)) with f = 2^(-d / D): never narrower than inside the region.

    Args:
        doublings: d, the distance from the region.
        own: s, the stack's own spread.
        pooled: P, the pooled one.
        fade_doublings: D.
    """
    kept = 0.5 ** (doublings / fade_doublings)
    return max(own, own * kept + pooled * (1.0 - kept))


def conformal_quantile(scores: Sequence[float], level: float = LEVEL) -> float | None:
    """The ceil((n + 1) level)-th smallest score; None where there are too few.

    A new score that is exchangeable with these is at most that with probability ``level``.

    Source: split conformal prediction, Lei et al. 2018 (JASA 113), section 2.2.
    """
    rank = math.ceil((len(scores) + 1) * level)
    return sorted(scores)[rank - 1] if 0 < rank <= len(scores) else None
