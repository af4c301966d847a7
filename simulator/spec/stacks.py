"""Software stacks of ``hardware/stacks/*.yaml``: each figure with its source, some by descent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, cast

from pydantic import Field, Strict, StrictBool

from simulator.errors import SpecError, as_written
from simulator.machine import Assumption
from simulator.plan import AttentionKernel
from simulator.spec.fits import FITTED, FitSpec, load_pooled_spread
from simulator.spec.hardware import merge
from simulator.spec.quantity import (
    AssumptionSpec,
    BytesOrZero,
    Count,
    FractionOrZero,
    NotNegative,
    Positive,
    Scale,
    Seconds,
    Sourced,
    Text,
    assumptions,
)
from simulator.spec.validate import Spec, validate
from simulator.spec.yaml_file import find_data, read_yaml
from simulator.stack import CrossEntropy, Stack
from simulator.uncertainty import Uncertainty

ElementBytes = Annotated[float, Strict(), Field(gt=0, le=8, allow_inf_nan=False)]
ElementBytesOrZero = Annotated[float, Strict(), Field(ge=0, le=8, allow_inf_nan=False)]
ASSUMED: Final = "assumed"
"""A figure whose source starts with this word is listed among a report's assumptions."""
_YAML_NAME: Final = {
    "layer_overhead_s": "layer_overhead",
    "collective_overhead_s": "collective_overhead",
    "layer_stall_s": "layer_stall",
    "microbatch_overhead_s": "microbatch_overhead",
    "batch_overhead_s": "batch_overhead",
    "step_overhead_s": "step_overhead",
    "framework_bytes": "framework_memory",
    "communicator_bytes": "communicator_memory",
    "workspace_bytes": "workspace_memory",
    "list_entry_s": "list_entry",
}
"""Field of ``Stack`` -> its key in YAML, where a quantity carries its own unit."""
_FITTED_KEYS: Final = frozenset(_YAML_NAME.get(name, name) for name in FITTED)


class StackSpec(Spec):
    """One framework of one era; see ``stack.Stack`` for the fields.

    ``source`` says where the switches (which kernels, which overlaps) are documented.
    """

    name: Text
    framework: Text
    source: Text
    attention: AttentionKernel
    fused_softmax: StrictBool
    fused_bias_gelu: StrictBool
    fused_norm: StrictBool
    fused_bias_dropout_add: StrictBool
    dropout: StrictBool
    backward_tp_overlap: StrictBool
    overlap_dp: StrictBool
    overlap_tp: StrictBool
    overlap_pp: StrictBool
    partition_activations: StrictBool = False
    checkpoints_on_host: StrictBool = False
    fused_rotary: StrictBool = False
    fused_gradient_accumulation: StrictBool = True
    cross_entropy: CrossEntropy = "vocab_parallel"
    gather_logits: StrictBool = False
    fp16_gradients: StrictBool = False
    bf16_gradient_copy: StrictBool = False
    fp8_weights: StrictBool = False
    fp8_dynamic: StrictBool = False
    flat_optimizer: StrictBool = False
    norm_copy_bytes: ElementBytesOrZero = 0.0
    optimizer_intermediate_bytes: NotNegative = 0.0
    live_parameters: NotNegative = 0.0
    listed_weights: StrictBool = False
    gathers_again: StrictBool = False
    copies_attention_output: StrictBool = False
    recompute_elementwise: StrictBool = False
    recompute_stops_early: StrictBool = False
    softmax_multiple: Count = 1
    pads_vocabulary: StrictBool = True
    collectives_hide_host: StrictBool = True
    sharded_all_reduce: StrictBool = False
    gradient_copy_bytes: NotNegative = 0.0
    gemm_scale: Sourced[Scale]
    memory_scale: Sourced[Scale]
    attention_scale: Sourced[Scale]
    layer_overhead: Sourced[Seconds]
    collective_overhead: Sourced[Seconds]
    layer_stall: Sourced[Seconds]
    microbatch_overhead: Sourced[Seconds]
    batch_overhead: Sourced[Seconds]
    step_overhead: Sourced[Seconds]
    blocking_p2p_scale: Sourced[NotNegative]
    network_scale: Sourced[Positive]
    framework_memory: Sourced[BytesOrZero]
    communicator_memory: Sourced[BytesOrZero]
    workspace_memory: Sourced[BytesOrZero]
    fragmentation: Sourced[FractionOrZero]
    gradient_bytes: Sourced[ElementBytes]
    gradient_reduce_bytes: Sourced[ElementBytes]
    optimizer_bytes_per_parameter: Sourced[Positive]
    gather_bytes: Sourced[ElementBytes]
    list_entry: Sourced[Seconds]
    assumptions: tuple[AssumptionSpec, ...] = ()
    fit: FitSpec | None = None

    def build(self) -> Stack:
        """The stack without the sources; figures that were only assumed stay listed as such."""
        figures = {key: getattr(self, key) for key in SOURCED_KEYS}
        notes = tuple(
            Assumption(f"stack.{key}", str(figure.value), figure.source)
            for key, figure in figures.items()
            if figure.source.lower().startswith(ASSUMED)
        )
        values = {
            field: figures[_YAML_NAME.get(field, field)].value
            for field in Stack.__dataclass_fields__
            if _YAML_NAME.get(field, field) in figures
        }
        switches = self.model_dump(exclude={"source", "assumptions", "fit", *SOURCED_KEYS})
        return Stack(
            **switches,
            **values,
            assumptions=(*assumptions(self.assumptions), *notes),
            uncertainty=Uncertainty(load_pooled_spread(), self.fit.own() if self.fit else None),
        )


def _is_sourced(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Sourced)


SOURCED_KEYS: Final = tuple(
    key for key, field in StackSpec.model_fields.items() if _is_sourced(field.annotation)
)


def load_stack(
    name: str,
    overrides: Mapping[str, object] | None = None,
    *,
    where: str = "stack",
    base_dir: Path | None = None,
) -> Stack:
    """A shipped stack, or one of the user's, with some of its values replaced.

    With a fitted scalar replaced, what was measured of the stack holds no more: its predictions
    carry the pooled range.

    Args:
        name: file stem of ``hardware/stacks``, or the path of a YAML file.
        overrides: values of ``StackSpec``; a figure may be written without ``source``.
        where: place of the overrides, for errors.
        base_dir: directory to which a path is relative.

    Raises:
        SpecError: if a file or an override is wrong, or ``extends`` goes in a circle.
    """
    data, file = _resolve(name, base_dir or Path(), ())
    if not overrides:
        return validate(StackSpec, data, file).build()
    if not _FITTED_KEYS.isdisjoint(overrides):
        data.pop("fit", None)
    return validate(StackSpec, merge(data, _with_sources(overrides, where)), where).build()


@dataclass(frozen=True, slots=True)
class StackFile:
    """One file of a stack, without what it extends.

    Attributes:
        scalars: fields of ``Stack`` that it gives a value of its own.
        fit: its declaration of what is fitted.
    """

    name: str
    path: Path
    scalars: frozenset[str]
    fit: FitSpec | None


def stack_files(name: str, *, base_dir: Path | None = None) -> tuple[StackFile, ...]:
    """The file of a stack, the one it extends, and so on; errors as ``load_stack``."""
    _resolve(name, base_dir or Path(), ())
    files: list[StackFile] = []
    place: str | None = name
    folder = base_dir or Path()
    field_of = {key: field for field, key in _YAML_NAME.items()}
    while place is not None:
        path = _path_of(place, folder)
        content = cast("dict[str, object]", read_yaml(path))
        raw = content.get("fit")
        fit = None if raw is None else validate(FitSpec, raw, f"{path}: fit")
        scalars = frozenset(field_of.get(key, key) for key in content)
        files.append(StackFile(path.stem, path, scalars, fit))
        place = cast("str | None", content.get("extends"))
        folder = path.parent
    return tuple(files)


def _path_of(name: str, base_dir: Path) -> Path:
    is_path = name.endswith((".yaml", ".yml"))
    return (base_dir / name).resolve() if is_path else find_data("stacks", name)


def _with_sources(overrides: Mapping[str, object], where: str) -> dict[str, object]:
    return {
        key: {"value": value, "source": f"given at {where}"}
        if key in SOURCED_KEYS and not isinstance(value, Mapping)
        else value
        for key, value in overrides.items()
    }


def _resolve(name: str, base_dir: Path, seen: tuple[str, ...]) -> tuple[dict[str, object], str]:
    """The description with all that it extends merged in, and its file."""
    path = _path_of(name, base_dir)
    if str(path) in seen:
        raise SpecError(
            f"'extends' goes in a circle: {' -> '.join((*seen, str(path)))}",
            where=str(path),
            hint="remove one of them",
        )
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise SpecError("a stack is a mapping", where=str(path), hint="write 'key: value' lines")
    data = {"name": path.stem, **cast("dict[str, object]", content)}
    parent = data.pop("extends", None)
    if parent is None:
        return data, str(path)
    if not isinstance(parent, str):
        raise SpecError(
            f"{as_written(parent)} is not the name of a stack", where=f"{path}: extends"
        )
    base, _ = _resolve(parent, path.parent, (*seen, str(path)))
    # What was measured of a parent says nothing of a stack with other values.
    base.pop("fit", None)
    return merge(base, data), str(path)
