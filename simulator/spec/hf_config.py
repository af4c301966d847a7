"""Reads the shape of a transformer out of a Hugging Face ``config.json``.

Only files are read; nothing is fetched and no code of the model is run. Keys that would change
the FLOPs and that the model has no field for are errors, never ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, cast

from simulator.errors import SpecError, UnknownNameError
from simulator.machine import Assumption
from simulator.spec.yaml_file import MAX_BYTES

# First key that is present wins. Counted over the configuration classes of transformers 5.23.
_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "num_layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "ffn_hidden_size": ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size"),
    "num_attention_heads": ("num_attention_heads", "n_head", "num_heads", "n_heads"),
    "num_query_groups": ("num_key_value_heads", "num_kv_heads"),
    "head_dim": ("head_dim",),
    "vocab_size": ("vocab_size",),
    "sliding_window": ("sliding_window",),
    "tied_embeddings": ("tie_word_embeddings",),
}
_EXPERT_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "num_experts": ("num_local_experts", "num_experts"),
    "top_k": ("num_experts_per_tok",),
    "expert_ffn_hidden_size": ("moe_intermediate_size",),
    "expert_interval": ("decoder_sparse_step",),
}
_EXPERT_FAMILIES: Final = ("mixtral", "qwen3_moe")
_LLAMA: Final[Mapping[str, object]] = {
    "gated_mlp": True,
    "normalization": "rmsnorm",
    "position_embedding": "rotary",
    "tied_embeddings": False,
    "use_bias": False,
}
_BERT: Final[Mapping[str, object]] = {"causal": False, "has_pooler": True, "num_token_types": 2}
_FAMILIES: Final[Mapping[str, Mapping[str, object]]] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "mixtral": _LLAMA,
    "qwen3_moe": _LLAMA,
    "gpt2": {},
    "opt": {},
    "bert": _BERT,
    "gpt_neox": {"position_embedding": "rotary", "tied_embeddings": False, "parallel_block": True},
    "bloom": {"position_embedding": "alibi"},
}
"""model_type -> what its architecture fixes and defaults of keys its file may leave out."""
_POSITIONS: Final[Mapping[str, tuple[str, int]]] = {
    "gpt2": ("n_positions", 0),
    "opt": ("max_position_embeddings", 2),
    "bert": ("max_position_embeddings", 0),
}
"""model_type -> key with the rows of the learned position table, and rows it has on top."""
_DECISIVE: Final = re.compile(r"expert|moe|lora_rank|mamba|ssm|linear_|mtp|layer_types")
"""Keys of architectures whose FLOPs a plain transformer does not give."""
_HARMLESS: Final = re.compile(
    r"^_|token|dropout|dtype|initializer|rope|cache|version|architectures|model_type|_type$"
    r"|pdrop|epsilon|_eps|max_position|n_positions|n_ctx|use_return_dict|transformers|auto_map"
    r"|pretraining_tp|max_window_layers|use_sliding_window|bias|hidden_act|activation|summary"
    r"|task_specific|id2label|label2id|rotary|use_parallel_residual|quantization|prefix|name"
)


def read_hf_config(path: Path) -> tuple[dict[str, object], tuple[Assumption, ...]]:
    """The fields of ``ModelSpec`` that a ``config.json`` gives, and the keys it ignored.

    Raises:
        SpecError: if the file is no JSON object, or its model has parts that are not modelled.
        UnknownNameError: if the architecture is not known.
    """
    config = _read_json(path)
    family = config.get("model_type")
    if not isinstance(family, str) or family not in _FAMILIES:
        raise UnknownNameError.of("model_type", str(family), _FAMILIES, where=f"{path}: model_type")
    aliases = _ALIASES | (_EXPERT_ALIASES if family in _EXPERT_FAMILIES else {})
    known = {key for keys in aliases.values() for key in keys}
    _refuse_other_architectures(config, path, known)
    fields = {"name": _name(config, path)} | dict(_FAMILIES[family])
    for field, keys in aliases.items():
        value = next((config[key] for key in keys if config.get(key) is not None), None)
        if value is not None:
            fields[field] = value
    if family in _POSITIONS:
        key, extra = _POSITIONS[family]
        rows = config.get(key)
        fields["max_position_embeddings"] = rows + extra if isinstance(rows, int) else rows
    if family == "bert":
        fields["num_token_types"] = config.get("type_vocab_size", 2)
    if config.get("use_sliding_window") is False:
        fields.pop("sliding_window", None)
    return fields, _ignored(config, path)


def _read_json(path: Path) -> Mapping[str, object]:
    if path.is_dir() or not path.exists():
        kind = "a directory" if path.is_dir() else "no file"
        raise SpecError(
            f"hf_config '{path}' is {kind}", hint="name the config.json of a downloaded model"
        )
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise SpecError(f"'{path}' is larger than {MAX_BYTES:,} bytes")
        data = json.loads(raw.decode("utf-8"))
    except OSError as error:
        raise SpecError(f"cannot read '{path}': {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SpecError(f"'{path}' is not valid JSON: {error}") from None
    if not isinstance(data, dict):
        raise SpecError(f"'{path}' is not a JSON object", hint="is it a model's config.json?")
    return cast("dict[str, object]", data)


def _refuse_other_architectures(
    config: Mapping[str, object], path: Path, known: Collection[str]
) -> None:
    for key, value in config.items():
        if key not in known and _DECISIVE.search(key) and not _means_dense(key, value):
            raise SpecError(
                f"'{key}' is set to {str(value)[:60]}: the model is not a plain transformer",
                where=f"{path}: {key}",
                hint="its FLOPs would be wrong; to accept that, spell the model out by fields",
            )
    _require(config, path, "use_parallel_residual", True)
    if config.get("word_embed_proj_dim", config.get("hidden_size")) != config.get("hidden_size"):
        raise SpecError(
            "word_embed_proj_dim differs from hidden_size: embeddings are projected",
            where=f"{path}: word_embed_proj_dim",
        )


def _require(config: Mapping[str, object], path: Path, key: str, expected: bool) -> None:
    if config.get(key, expected) is not expected:
        raise SpecError(f"'{key}' is not {str(expected).lower()}", where=f"{path}: {key}")


def _means_dense(key: str, value: object) -> bool:
    """Whether a decisive key says that nothing is special after all."""
    if key == "layer_types" and isinstance(value, list):
        return set(cast("list[object]", value)) == {"full_attention"}
    return value is None or value is False or value == 0 or value == []


def _name(config: Mapping[str, object], path: Path) -> str:
    name = config.get("_name_or_path")
    return name if isinstance(name, str) and name.strip() else path.parent.name or "hf-model"


def _ignored(config: Mapping[str, object], path: Path) -> tuple[Assumption, ...]:
    known = {alias for aliases in _ALIASES.values() for alias in aliases} | {"type_vocab_size"}
    keys = [k for k in config if k not in known and not _HARMLESS.search(k)]
    keys = [key for key in keys if not _DECISIVE.search(key)]
    if not keys:
        return ()
    return (Assumption("model.hf_config", f"ignored: {', '.join(sorted(keys))}", str(path)),)
