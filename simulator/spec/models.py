"""Model shapes: the shipped presets, fields spelled out, or a Hugging Face ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, cast

from pydantic import Field, Strict, StrictBool

from simulator.errors import SpecError, TrainsimError, UnknownNameError
from simulator.machine import Assumption
from simulator.model import Normalization, PositionEmbedding, TransformerConfig
from simulator.spec.experts import EXPERT_FIELDS, expert_fields
from simulator.spec.hf_config import read_hf_config
from simulator.spec.quantity import Text
from simulator.spec.validate import Spec, validate
from simulator.spec.yaml_file import data_dir, list_data, read_yaml

Size = Annotated[int, Strict(), Field(ge=1, le=100_000_000)]
SizeOrZero = Annotated[int, Strict(), Field(ge=0, le=100_000_000)]
Depth = Annotated[int, Strict(), Field(ge=1, le=10_000)]


class ModelSpec(Spec):
    """A transformer as written. A width that is left out follows from the others.

    ``ffn_hidden_size`` is then 4 * hidden_size, ``num_query_groups`` the number of heads,
    ``head_dim`` hidden_size / num_attention_heads; ``expert_ffn_hidden_size`` is ffn_hidden_size.
    """

    name: Text = "custom"
    num_layers: Depth
    hidden_size: Size
    ffn_hidden_size: Size | None = None
    num_attention_heads: Size
    num_query_groups: Size | None = None
    head_dim: Size | None = None
    vocab_size: Size
    gated_mlp: StrictBool = False
    normalization: Normalization = "layernorm"
    position_embedding: PositionEmbedding = "learned"
    tied_embeddings: StrictBool = True
    parallel_block: StrictBool = False
    sliding_window: Size | None = None
    causal: StrictBool = True
    use_bias: StrictBool = True
    max_position_embeddings: SizeOrZero = 0
    num_token_types: SizeOrZero = 0
    has_pooler: StrictBool = False
    num_experts: SizeOrZero | None = None
    top_k: Size | None = None
    expert_ffn_hidden_size: Size | None = None
    shared_expert_ffn_hidden_size: SizeOrZero | None = None
    num_dense_layers: SizeOrZero | None = None
    expert_interval: Size | None = None


class ModelInput(Spec):
    """What a scenario may say of its model: a base, and fields that replace those of the base."""

    preset: Text | None = None
    hf_config: Text | None = None
    name: Text | None = None
    num_layers: Depth | None = None
    hidden_size: Size | None = None
    ffn_hidden_size: Size | None = None
    num_attention_heads: Size | None = None
    num_query_groups: Size | None = None
    head_dim: Size | None = None
    vocab_size: Size | None = None
    gated_mlp: StrictBool | None = None
    normalization: Normalization | None = None
    position_embedding: PositionEmbedding | None = None
    tied_embeddings: StrictBool | None = None
    parallel_block: StrictBool | None = None
    sliding_window: Size | None = None
    causal: StrictBool | None = None
    use_bias: StrictBool | None = None
    max_position_embeddings: SizeOrZero | None = None
    num_token_types: SizeOrZero | None = None
    has_pooler: StrictBool | None = None
    num_experts: SizeOrZero | None = None
    top_k: Size | None = None
    expert_ffn_hidden_size: Size | None = None
    shared_expert_ffn_hidden_size: SizeOrZero | None = None
    num_dense_layers: SizeOrZero | None = None
    expert_interval: Size | None = None


_BASES: Final = {"preset", "hf_config"}
_WIDTHS: Final = {"ffn_hidden_size", "num_query_groups", "head_dim"}
"""Fields that follow from others where they are left out."""


@lru_cache
def model_presets() -> Mapping[str, Mapping[str, object]]:
    """Every shipped model by name, with its fields as written and its ``source``.

    Raises:
        SpecError: if a shipped file is broken or two files hold the same name.
    """
    presets: dict[str, Mapping[str, object]] = {}
    for family in list_data("models"):
        path = data_dir("hardware") / "models" / f"{family}.yaml"
        for name, fields in cast("dict[str, dict[str, object]]", read_yaml(path)).items():
            if name in presets or "source" not in fields:
                raise SpecError(f"model '{name}' occurs twice or has no source", where=str(path))
            presets[name] = fields
    return presets


def load_model(
    data: ModelInput, where: str, base_dir: Path
) -> tuple[TransformerConfig, tuple[Assumption, ...]]:
    """The model that a scenario describes, and what had to be assumed for it.

    Args:
        data: the ``model`` part of a scenario.
        where: its place, for errors.
        base_dir: directory against which ``hf_config`` is resolved.

    Raises:
        SpecError: if there are two bases, or none and a field is missing.
        UnknownNameError: if there is no such preset.
    """
    if data.preset is not None and data.hf_config is not None:
        raise SpecError(
            f"both preset '{data.preset}' and hf_config '{data.hf_config}' are given",
            where=where,
            hint="keep one of them",
        )
    fields: dict[str, object] = data.model_dump(exclude_unset=True, exclude=_BASES)
    notes: tuple[Assumption, ...] = ()
    if data.preset is not None:
        fields = _preset(data.preset, f"{where}.preset") | fields
    elif data.hf_config is not None:
        try:
            base, notes = read_hf_config(base_dir / Path(data.hf_config).expanduser())
        except TrainsimError as error:
            raise error.at(f"{where}.hf_config") from None
        fields = base | fields
    return transformer(validate(ModelSpec, fields, where), where), notes


def _preset(name: str, where: str) -> dict[str, object]:
    presets = model_presets()
    key = name.lower().replace("_", "-")
    if key not in presets:
        raise UnknownNameError.of("model", name, presets, where=where)
    return {"name": key} | {k: v for k, v in presets[key].items() if k != "source"}


def transformer(spec: ModelSpec, where: str) -> TransformerConfig:
    """The model with every width worked out.

    Raises:
        SpecError: if the heads do not divide the hidden size and no ``head_dim`` is given, or the
            query groups do not divide the heads, or the fields of experts do not agree.
    """
    heads = spec.num_attention_heads
    groups = spec.num_query_groups or heads
    if heads % groups:
        raise SpecError(
            f"num_attention_heads {heads} is not divisible by num_query_groups {groups}",
            where=f"{where}.num_query_groups",
            hint="every key/value head serves the same number of query heads",
        )
    if spec.head_dim is None and spec.hidden_size % heads:
        raise SpecError(
            f"hidden_size {spec.hidden_size} is not divisible by num_attention_heads {heads}",
            where=f"{where}.num_attention_heads",
            hint="give head_dim, or heads that divide hidden_size",
        )
    ffn_hidden_size = spec.ffn_hidden_size or 4 * spec.hidden_size
    written = spec.model_dump(include=set(EXPERT_FIELDS), exclude_none=True)
    return TransformerConfig(
        ffn_hidden_size=ffn_hidden_size,
        num_query_groups=groups,
        head_dim=spec.head_dim or spec.hidden_size // heads,
        **expert_fields(written, ffn_hidden_size, spec.num_layers, where),
        **spec.model_dump(exclude={*_WIDTHS, *EXPERT_FIELDS}),
    )
