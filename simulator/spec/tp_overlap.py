"""Schema of ``plan.tp_overlap``: how reductions over tp leave the products that feed them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from simulator.errors import PlanError
from simulator.machine import Assumption
from simulator.spec.quantity import Count
from simulator.spec.validate import Spec
from simulator.tp_overlap import DEFAULT_COMMUNICATION_SMS, DramSharing, TpOverlap


class TpOverlapSpec(Spec):
    """See ``simulator.tp_overlap.TpOverlap``; mode ``none``: one after the other."""

    mode: Literal["none", "sm", "dma"]
    chunks: Count | None = None
    communication_sms: Count | None = None
    dram: DramSharing | None = None

    @model_validator(mode="after")
    def _keys_of_the_mode(self) -> Self:
        for key, mode in (("communication_sms", "sm"), ("dram", "dma")):
            value = getattr(self, key)
            if value is not None and self.mode != mode:
                raise PlanError(
                    f"{key} {value} has no meaning with mode '{self.mode}'",
                    hint=f"set mode: {mode}, or leave {key} out",
                )
        if self.chunks is not None and self.mode == "none":
            raise PlanError(
                f"chunks {self.chunks} have no meaning with mode 'none'",
                hint="set mode: sm or mode: dma, or leave chunks out",
            )
        return self

    def build(self) -> TpOverlap | None:
        """The frozen form, None where nothing overlaps."""
        if self.mode == "none":
            return None
        return TpOverlap(
            mode=self.mode,
            chunks=self.chunks,
            communication_sms=self.communication_sms or DEFAULT_COMMUNICATION_SMS,
            dram=self.dram or "arbitrated",
        )


def tp_overlap_defaults(spec: TpOverlapSpec | None) -> list[Assumption]:
    """What a specification left to defaults."""
    built = spec.build() if spec else None
    if spec is None or built is None:
        return []
    return [
        Assumption(
            f"plan.tp_overlap.{key}",
            "one per tensor-parallel rank" if value is None else str(value),
            "default",
        )
        for key, value in tp_overlap_data(built).items()
        if key not in spec.model_fields_set
    ]


def tp_overlap_data(overlap: TpOverlap) -> dict[str, object]:
    """A ``TpOverlap`` as ``plan.tp_overlap`` holds it."""
    data: dict[str, object] = {"mode": overlap.mode, "chunks": overlap.chunks}
    if overlap.mode == "sm":
        return data | {"communication_sms": overlap.communication_sms}
    return data | {"dram": overlap.dram}
