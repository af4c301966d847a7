"""Turns the shape columns of a row into a model description, by the family the name tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from simulator.published.frameworks import documented_model
from simulator.published.rows import CannotRunError, PublishedRow

Settings = dict[str, object]
"""Part of a scenario, as a YAML file would hold it."""


@dataclass(frozen=True, slots=True)
class Family:
    """What all models of a family share beyond their numbers.

    Attributes:
        pattern: matches the lower-case ``arch`` and ``model`` columns, joined by a space.
        settings: keys of the scenario's ``model``.
        vocab_size: of the family's tokenizer, for rows that do not state it.
    """

    name: str
    pattern: re.Pattern[str]
    settings: Mapping[str, object]
    vocab_size: int


_GPT_VOCAB: Final = 51200
"""GPT-2's 50257 padded to a multiple of 128 x 8, as Megatron-LM's scripts do (SC21, section 5)."""
_ROTARY: Final = {
    "normalization": "rmsnorm",
    "position_embedding": "rotary",
    "tied_embeddings": False,
    "use_bias": False,
}

FAMILIES: Final = (
    Family(
        "bert",
        re.compile(r"\bbert"),
        {"causal": False, "num_token_types": 2, "has_pooler": True},
        30528,
    ),
    Family(
        "palm",
        re.compile(r"\bpalm"),
        _ROTARY | {"gated_mlp": True, "parallel_block": True, "tied_embeddings": True},
        256000,
    ),
    Family("gopher", re.compile(r"\bgopher"), _ROTARY | {"tied_embeddings": True}, 32000),
    Family(
        "gemma",
        re.compile(r"\bgemma"),
        _ROTARY | {"gated_mlp": True, "tied_embeddings": True},
        256000,
    ),
    # Squared ReLU, so no gate.
    Family("nemotron", re.compile(r"\bnemotron"), _ROTARY | {"normalization": "layernorm"}, 256000),
    Family(
        "llama",
        re.compile(r"llama|mistral|mixtral|internlm|qwen"),
        _ROTARY | {"gated_mlp": True},
        32000,
    ),
    Family(
        "gpt-neox",
        re.compile(r"neox|gpt-j"),
        {"position_embedding": "rotary", "parallel_block": True, "tied_embeddings": False},
        50432,
    ),
    Family("bloom", re.compile(r"\bbloom"), {"position_embedding": "alibi"}, 250880),
    Family("mpt", re.compile(r"\bmpt"), {"use_bias": False}, 50368),
    # languini-kitchen@0f185f91, projects/gpt/model.py: an input embedding and a linear layer apart.
    Family("languini", re.compile(r"\blanguini"), {"tied_embeddings": False}, 16384),
    Family("gpt", re.compile(r""), {}, _GPT_VOCAB),
)
"""First match wins; every name matches the last."""


SQUAD_TOKENS: Final = 174
"""Tokens of an example of SQuAD 1.1: 384, of which 2.2 fit (arXiv 2107.02027, from memory).

Whether 100 or 400, the attention they cost is at most a tenth of that over 4,096 tokens.
"""


def family_of(row: PublishedRow) -> Family:
    """The family of a row's model."""
    name = f"{row.lower('arch')} {row.lower('model')}"
    return next(family for family in FAMILIES if family.pattern.search(name))


def _fine_tuning(row: PublishedRow) -> tuple[Settings, list[str]]:
    """What sets the model of a fine-tuning run apart, and what was assumed.

    NeMo's fine-tuning tables are of SQuAD 1.1, "packed to 4096 tokens" (NVIDIA/NeMo,
    docs/source/performance/performance_summary.md), as are those of DGX Cloud
    (NVIDIA/dgxc-benchmarking, ft_llama3/llama3_finetune.py: SquadDataModule). Examples do not
    attend to each other (NeMo user guide, sequence packing): on average a query looks back over
    half of its own.
    """
    adapted = row.lower("task") == "lora" and "mlperf" not in row.lower("note")
    if row.lower("task") != "sft" and not adapted:
        return {}, []
    note = "fine-tuning runs" if adapted else "fine-tuning of all weights runs as pre-training"
    if not re.search("nemo|megatron", row.lower("framework")):
        return {}, [f"{note} on full sequences"]
    packed = f"{note} on packed sequences of {SQUAD_TOKENS} tokens"
    return {"sliding_window": SQUAD_TOKENS // 2}, [packed]


def model_settings(row: PublishedRow) -> tuple[Settings, list[str]]:
    """The scenario's ``model``, and what was assumed for it.

    Raises:
        CannotRunError: if layers, hidden size or sequence length are not stated, or the
            architecture is none of ours.
    """
    _check_architecture(row)
    family = family_of(row)
    hidden, notes = row.needed("hidden"), list[str]()
    heads = row.integer("heads")
    if heads is None:
        heads = max(1, hidden // 128)
        notes.append(f"heads not stated: {heads} of size 128")
    head_dim = row.integer("head_dim")
    if head_dim is None and hidden % heads:
        raise CannotRunError(f"hidden {hidden} is not divisible by heads {heads}")
    ffn = row.integer("ffn")
    if ffn is None:
        ffn = 4 * hidden
        notes.append("ffn not stated: 4 hidden")
    vocab = row.integer("vocab")
    if vocab is None:
        vocab = family.vocab_size
        notes.append(f"vocab not stated: {vocab}")
    fine_tuning, more = _fine_tuning(row)
    notes += more
    settings: Settings = {
        "name": row.text("model") or row.row_id,
        "num_layers": row.needed("layers"),
        "hidden_size": hidden,
        "ffn_hidden_size": ffn,
        "num_attention_heads": heads,
        "num_query_groups": row.integer("kv_heads") or heads,
        "head_dim": head_dim or hidden // heads,
        "vocab_size": vocab,
        **family.settings,
        **_experts(row),
        **fine_tuning,
        **documented_model(row),
    }
    gated = row.number("gated_mlp")
    if gated is not None:
        settings["gated_mlp"] = gated > 0
    if settings.get("position_embedding", "learned") == "learned":
        settings["max_position_embeddings"] = row.needed("seq_len")
    return settings, notes


def _experts(row: PublishedRow) -> Settings:
    """What the row says of its experts.

    Raises:
        CannotRunError: if it does not say how many a token visits.
    """
    num_experts = row.integer("n_experts") or 0
    if num_experts < 2:
        return {}
    top_k, width = row.integer("top_k"), row.integer("moe_ffn")
    if top_k is None or width is None:
        raise CannotRunError(f"top_k or moe_ffn of {num_experts} experts is not stated")
    return {"num_experts": num_experts, "top_k": top_k, "expert_ffn_hidden_size": width}


def _check_architecture(row: PublishedRow) -> None:
    if row.lower("arch").startswith("moe") and row.lower("arch") != "moe-llama":
        raise CannotRunError(f"layers of the architecture {row.lower('arch')} are not modelled")
    if "mamba" in row.lower("arch"):
        raise CannotRunError("state-space layers are not modelled")
    if row.lower("arch") == "mla":
        raise CannotRunError("multi-head latent attention is not modelled")
    if re.search(r"\bt5", row.lower("model")):
        raise CannotRunError("encoder-decoder models are not modelled")
