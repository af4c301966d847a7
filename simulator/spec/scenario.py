"""Schema of ``scenarios/*.yaml``, with every default that a scenario may leave out."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import (
    BeforeValidator,
    Field,
    Strict,
    StrictBool,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from simulator.errors import PlanError, UnknownNameError
from simulator.machine import Precision
from simulator.plan import AxisName, GradientRelease, RecomputeMode
from simulator.schedule.table import SCHEDULES
from simulator.sharding import SHARDING, SHARDING_ALIASES
from simulator.spec.batch import AutoFitSpec, Samples, SamplesOrFit
from simulator.spec.collectives import Algorithms
from simulator.spec.exchange import ExchangeSpec
from simulator.spec.fine_tuning import FineTuningSpec
from simulator.spec.models import ModelInput
from simulator.spec.offload import OffloadSpec
from simulator.spec.optimizers import OptimizerSpec
from simulator.spec.overrides import SHORT_FORMS
from simulator.spec.quantity import Bytes, Count, Fraction, Text
from simulator.spec.tp_overlap import TpOverlapSpec
from simulator.spec.validate import Spec

DEFAULT_STACK: Final = "megatron-core-2024"
Rank = Annotated[int, Strict(), Field(ge=0)]
CapacityFactor = Annotated[float, Strict(), Field(ge=1, le=1000)]
Layers = Annotated[int, Strict(), Field(ge=0, le=10_000)]
BucketSize = Annotated[Bytes, WithJsonSchema({"type": "string", "examples": ["1 GB"]})]


def _short_form(path: str, long_form: type[object]) -> BeforeValidator:
    """Lets one word stand for a mapping: ``model: gpt2`` for ``model: {preset: gpt2}``."""
    return BeforeValidator(
        lambda data: {SHORT_FORMS[path]: data} if isinstance(data, str) else data,
        json_schema_input_type=str | long_form,
    )


class RecomputeSpec(Spec):
    """What the backward pass computes again; ``num_layers`` per virtual stage, with ``full``."""

    mode: RecomputeMode
    num_layers: Count | None = None
    keeps_qkv: StrictBool = False

    @model_validator(mode="after")
    def _layers_only_with_full(self) -> Self:
        if self.num_layers is not None and self.mode != "full":
            raise PlanError(
                f"num_layers {self.num_layers} has no meaning with mode '{self.mode}'",
                hint="set mode: full, or leave num_layers out",
            )
        if self.keeps_qkv and self.mode != "full":
            raise PlanError(
                f"keeps_qkv has no meaning with mode '{self.mode}'",
                hint="set mode: full, or leave keeps_qkv out",
            )
        return self


class TrainingSpec(Spec):
    """How much is trained per step, and in which numbers.

    ``micro_batch_size: auto_fit`` is the largest that fits in memory; ``global_batch_size:
    auto_fit`` is ``num_microbatches`` (1) of them on every replica.
    """

    global_batch_size: SamplesOrFit
    micro_batch_size: SamplesOrFit = 1
    seq_length: Samples
    precision: Precision = "bf16"
    optimizer: Annotated[OptimizerSpec, _short_form("training.optimizer", OptimizerSpec)] = (
        OptimizerSpec(name="adam")
    )
    recompute: Annotated[RecomputeSpec, _short_form("training.recompute", RecomputeSpec)] = (
        RecomputeSpec(mode="none")
    )
    capacity_factor: CapacityFactor = 1.0
    num_microbatches: Samples | None = None
    auto_fit: AutoFitSpec | None = None
    fine_tuning: Annotated[
        FineTuningSpec | None, _short_form("training.fine_tuning", FineTuningSpec)
    ] = None
    gradient_release: GradientRelease = "step"
    activation_keep_ratio: Fraction = 1.0


OPTIONAL_TRAINING: Final = (
    "num_microbatches",
    "auto_fit",
    "fine_tuning",
    "gradient_release",
    "activation_keep_ratio",
)
"""Keys of ``training`` that, left out, assume nothing."""


class OverlapSpec(Spec):
    """Which communication runs beside compute; what is left out is as the stack does it.

    ``replicas: false``: replicas of a shard exchange gradients after the backward.
    """

    dp: StrictBool | None = None
    tp: StrictBool | None = None
    pp: StrictBool | None = None
    replicas: StrictBool = True


class PlanSpec(Spec):
    """Degrees of every axis and the policies on them. ``dp`` left out: all devices there are."""

    tp: Count = 1
    pp: Count = 1
    virtual_stages: Count = 1
    dp: Count | None = None
    cp: Count = 1
    ep: Count = 1
    etp: Count | None = None
    sequence_parallel: StrictBool = False
    schedule: Text | None = None
    sharding: Text = "ddp"
    layers_per_stage: tuple[Layers, ...] | None = None
    shard_group_size: Count | None = None
    prefetch_depth: Count = 1
    axis_order: tuple[AxisName, ...] = ("tp", "cp", "dp", "pp")
    overlap: OverlapSpec = OverlapSpec()
    bucket_bytes: BucketSize = 1e9
    offload: OffloadSpec | None = None
    exchange: Annotated[ExchangeSpec | None, _short_form("plan.exchange", dict[str, object])] = None
    tp_overlap: TpOverlapSpec | None = None

    @model_validator(mode="after")
    def _one_overlap_of_tp(self) -> Self:
        if self.tp_overlap is not None and self.overlap.tp:
            raise PlanError(
                "overlap.tp: true and tp_overlap are two ways to overlap",
                hint="leave overlap.tp out, or tp_overlap",
            )
        return self

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, value: str | None) -> str | None:
        if value is not None and value not in SCHEDULES:
            raise UnknownNameError.of("schedule", value, SCHEDULES)
        return value

    @field_validator("sharding")
    @classmethod
    def _known_sharding(cls, value: str) -> str:
        if value not in SHARDING and value not in SHARDING_ALIASES:
            raise UnknownNameError.of("sharding", value, [*SHARDING, *SHARDING_ALIASES])
        return value


class ClusterPreset(Spec):
    """A shipped cluster or a file, and how many of its nodes; all of them when left out.

    ``collective_algorithms`` replaces what its collective library chooses among.
    """

    preset: Text
    nodes: Count | None = None
    collective_algorithms: Algorithms | None = None


class StragglerSpec(Spec):
    """A rank that computes at a fraction of the speed of the others."""

    rank: Rank
    speed: Fraction


class ScenarioSpec(Spec):
    """One training job on one machine.

    ``cluster`` is a name, ``{preset, nodes}``, or a whole description; ``stack`` is a name, or
    ``{preset: ...}`` with values that replace those of the stack.
    """

    name: Text = "scenario"
    model: Annotated[ModelInput, _short_form("model", ModelInput)]
    training: TrainingSpec
    plan: PlanSpec = PlanSpec()
    cluster: Annotated[dict[str, object], _short_form("cluster", dict[str, object])]
    stack: Annotated[dict[str, object], _short_form("stack", dict[str, object])] = Field(
        default_factory=lambda: {"preset": DEFAULT_STACK}
    )
    stragglers: tuple[StragglerSpec, ...] = ()
