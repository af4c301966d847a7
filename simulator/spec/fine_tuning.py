"""``training.fine_tuning``: which weights are trained when it is not all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import Field, Strict, model_validator

from simulator.errors import PlanError
from simulator.fine_tuning import SEPARATE, BaseWeights, FineTuning, LinearName
from simulator.model import TransformerConfig
from simulator.plan import OptimizerConfig, TrainingConfig
from simulator.spec.validate import Spec

Method = Literal["lora", "qlora"]
TargetGroup = Literal["attention", "mlp", "all"]
DEFAULT_RANK: Final = 16
DEFAULT_TARGETS: Final[tuple[LinearName, ...]] = ("query", "value")
"""Source: Hu et al. 2021 (arXiv 2106.09685), section 7.1: query and value; peft's default."""
_GROUPS: Final[Mapping[TargetGroup, tuple[LinearName, ...]]] = {
    "attention": ("query", "key", "value", "output"),
    "mlp": ("gate", "up", "down"),
    "all": SEPARATE,
}


class FineTuningSpec(Spec):
    """Adapters of low rank; ``base`` says how the frozen weights of the layers are stored.

    ``targets`` are matrices (query, key, value, output, gate, up, down; qkv and gate_up where one
    matrix holds several), or one word for several: attention, mlp, all.
    """

    method: Method = "lora"
    rank: Annotated[int, Strict(), Field(ge=1, le=65_536)] = DEFAULT_RANK
    targets: TargetGroup | tuple[LinearName, ...] = DEFAULT_TARGETS
    base: BaseWeights | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.method == "qlora" and self.base == "training":
            raise PlanError(
                "method 'qlora' with base 'training': its frozen weights are quantised",
                hint="take base: nf4, or method: lora",
            )
        names = self.targets
        if not isinstance(names, str) and (not names or len(set(names)) < len(names)):
            raise PlanError(
                f"targets {list(names)} are empty or name a matrix twice",
                hint="take targets: attention, or all",
            )
        return self


def fine_tuning_of(spec: FineTuningSpec | None, model: TransformerConfig) -> FineTuning | None:
    """What is trained, with groups of targets spelled out."""
    if spec is None:
        return None
    targets: tuple[LinearName, ...]
    if isinstance(spec.targets, str):
        group = _GROUPS[spec.targets]
        targets = tuple(name for name in group if model.gated_mlp or name != "gate")
    else:
        targets = spec.targets
    stored: BaseWeights = "nf4" if spec.method == "qlora" else "training"
    return FineTuning(spec.rank, targets, spec.base or stored)


_PLAIN: Final[Mapping[str, object]] = {
    "fine_tuning": None,
    "gradient_release": "step",
    "activation_keep_ratio": 1.0,
}
_PLAIN_OPTIMIZER: Final[Mapping[str, object]] = {"rank": 0, "svd_every": 0, "weight_bytes": None}


def training_data(training: TrainingConfig, data: Mapping[str, object]) -> dict[str, object]:
    """The training as data that parses to the same, without what is plain training anyway.

    Args:
        training: as it runs.
        data: its fields as data.
    """
    found = {key: v for key, v in data.items() if key not in _PLAIN or v != _PLAIN[key]}
    found["optimizer"] = _optimizer_data(training.optimizer)
    tuned = training.fine_tuning
    if tuned is not None:
        found["fine_tuning"] = {
            "rank": tuned.rank,
            "targets": list(tuned.targets),
            "base": tuned.base,
        }
    return found


def _optimizer_data(optimizer: OptimizerConfig) -> dict[str, object]:
    """The name tells the form."""
    names = [name for name in OptimizerConfig.__dataclass_fields__ if name != "form"]
    values = {name: getattr(optimizer, name) for name in names}
    return {
        k: v for k, v in values.items() if k not in _PLAIN_OPTIMIZER or v != _PLAIN_OPTIMIZER[k]
    }
