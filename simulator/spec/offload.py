"""Schema of ``plan.offload``: homes of states and activations, and how they travel."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, Strict, StrictBool, WithJsonSchema, model_validator

from simulator.errors import PlanError
from simulator.offload import Home, Offload, OptimizerMoment, Tier, Transfer, lives_elsewhere
from simulator.spec.quantity import Bytes, Count, Fraction
from simulator.spec.validate import Spec

BufferSize = Annotated[Bytes, WithJsonSchema({"type": "string", "examples": ["1 GB"]})]
Depth = Annotated[int, Strict(), Field(ge=0, le=1000)]


class HomeSpec(Spec):
    """A tier, and the fraction that lives there; the rest stays on the device."""

    tier: Tier
    fraction: Fraction = 1.0

    @model_validator(mode="after")
    def _fraction_off_the_device(self) -> Self:
        if self.tier == "device" and self.fraction != 1.0:
            raise PlanError(
                f"fraction {self.fraction:g} of what lives on the device",
                hint="name the tier, host or nvme, where that fraction lives",
            )
        return self

    def build(self) -> Home:
        """The frozen form."""
        return Home(self.tier, self.fraction)


def _home(data: object) -> object:
    return {"tier": data} if isinstance(data, str) else data


HomeInput = Annotated[
    HomeSpec,
    BeforeValidator(_home, json_schema_input_type=Literal["device", "host", "nvme"] | HomeSpec),
]


class OffloadSpec(Spec):
    """See ``simulator.offload.Offload``."""

    weights: HomeInput = HomeSpec(tier="device")
    gradients: HomeInput = HomeSpec(tier="device")
    optimizer: HomeInput = HomeSpec(tier="device")
    activations: HomeInput = HomeSpec(tier="device")
    prefetch_depth: Depth = 1
    pinned_buffer_bytes: BufferSize = 1e9
    pinned_buffers: Count = 4
    transfer: Transfer = "partitioned"
    overlap: StrictBool = True
    optimizer_moment: OptimizerMoment = "after_step"
    tiling: Count = 1

    def build(self) -> Offload | None:
        """The frozen form, None where everything lives on the device."""
        offload = Offload(
            weights=self.weights.build(),
            gradients=self.gradients.build(),
            optimizer=self.optimizer.build(),
            activations=self.activations.build(),
            prefetch_depth=self.prefetch_depth,
            pinned_buffer_bytes=self.pinned_buffer_bytes,
            pinned_buffers=self.pinned_buffers,
            transfer=self.transfer,
            overlap=self.overlap,
            optimizer_moment=self.optimizer_moment,
            tiling=self.tiling,
        )
        return offload if lives_elsewhere(offload) or self.tiling > 1 else None


def offload_data(offload: Offload) -> dict[str, object]:
    """An ``Offload`` as ``plan.offload`` holds it."""
    homes = {
        kind: {"tier": home.tier, "fraction": home.fraction} for kind, home in offload.homes.items()
    }
    return {
        **homes,
        "prefetch_depth": offload.prefetch_depth,
        "pinned_buffer_bytes": f"{offload.pinned_buffer_bytes:.17g} B",
        "pinned_buffers": offload.pinned_buffers,
        "transfer": offload.transfer,
        "overlap": offload.overlap,
        "optimizer_moment": offload.optimizer_moment,
        "tiling": offload.tiling,
    }
