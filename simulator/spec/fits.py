"""What is fitted and how far predictions may be off: ``fit`` of a stack, and the pooled spread."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Self

from pydantic import Field, field_validator, model_validator

from simulator.errors import SpecError
from simulator.spec.quantity import Count, CountOrZero, Positive, Text
from simulator.spec.validate import Spec, validate
from simulator.spec.yaml_file import data_dir, read_yaml
from simulator.uncertainty import PooledSpread, Region, StackSpread

FITTED: Final = (
    "gemm_scale",
    "memory_scale",
    "attention_scale",
    "layer_overhead_s",
    "collective_overhead_s",
    "layer_stall_s",
    "microbatch_overhead_s",
    "step_overhead_s",
    "blocking_p2p_scale",
    "network_scale",
)
"""Scalars of a stack that ``trainsim calibrate stack`` can fit, by their names in ``Stack``."""
POOLED_FILE: Final = "uncertainty.yaml"

Bounds = tuple[Positive, Positive]


class RegionSpec(Spec):
    """Smallest and largest sizes of the calibration rows on one accelerator."""

    rows: Count
    devices: Bounds
    parameters: Bounds
    seq_length: Bounds
    micro_batch_size: Bounds

    def region(self) -> Region:
        """The frozen form."""
        bounds = (self.devices, self.parameters, self.seq_length, self.micro_batch_size)
        low, high = zip(*bounds, strict=True)
        return Region(tuple(low), tuple(high))


class FitSpec(Spec):
    """How the scalars of a stack were fitted, and what was left over.

    ``parameters`` and ``sources`` say what to fit on which tables (all, if none are named);
    ``stacks`` whose rows count, if not the stack's own; ``typical`` which scalars are those of
    other software, for want of rows to fit them on. The rest is written by
    ``trainsim calibrate stack NAME --write``.
    """

    parameters: tuple[Text, ...] = ()
    sources: tuple[Text, ...] = ()
    stacks: tuple[Text, ...] = ()
    typical: tuple[Text, ...] = ()
    fitted_rows: CountOrZero = 0
    spread_rows: CountOrZero = 0
    spread: Positive | None = None
    regions: dict[str, RegionSpec] = Field(default_factory=dict[str, RegionSpec])

    @field_validator("parameters", "typical")
    @classmethod
    def _known(cls, parameters: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in parameters if name not in FITTED]
        if unknown:
            raise SpecError(
                f"'{unknown[0]}' is no scalar that can be fitted",
                hint=f"choose among {', '.join(FITTED)}",
            )
        return parameters

    @model_validator(mode="after")
    def _fitted_or_typical(self) -> Self:
        both = [name for name in self.typical if name in self.parameters]
        if both:
            raise SpecError(
                f"'{both[0]}' is both fitted and taken from other software",
                hint="name it among parameters or among typical",
            )
        return self

    def own(self) -> StackSpread:
        """What the calibration rows of this stack say."""
        regions = {name: spec.region() for name, spec in self.regions.items()}
        return StackSpread(self.spread, self.spread_rows, regions)


class PooledSpec(Spec):
    """Content of ``hardware/uncertainty.yaml``."""

    source: Text
    spread: Positive
    fade_doublings: Positive
    rows: Count
    sources: Count


@lru_cache(maxsize=1)
def load_pooled_spread() -> PooledSpread:
    """The spread of predictions for sources that no fit has seen."""
    path = data_dir("hardware") / POOLED_FILE
    spec = validate(PooledSpec, read_yaml(path), str(path))
    return PooledSpread(spec.spread, spec.fade_doublings, spec.rows, spec.sources)
