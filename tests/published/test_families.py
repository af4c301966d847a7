from collections.abc import Callable

import pytest

from simulator.published.families import family_of, model_settings
from simulator.published.rows import CannotRunError, PublishedRow

MakeRow = Callable[..., PublishedRow]


@pytest.mark.parametrize(
    ("arch", "model", "family"),
    [
        ("", "GPT-175B", "gpt"),
        ("", "LLaMA-13B", "llama"),
        ("llama", "mistral-7b", "llama"),
        ("bert", "BERT-Large", "bert"),
        ("", "GPT 181B (BLOOM search)", "bloom"),
        ("gpt", "MPT-7b", "mpt"),
        ("nemotron", "Nemotron4-15B", "nemotron"),
        ("", "GPT-NeoX-20B", "gpt-neox"),
        ("gemma", "Gemma 2B", "gemma"),
        ("", "PaLM-540B", "palm"),
    ],
)
def test_family_by_name(make_row: MakeRow, arch: str, model: str, family: str) -> None:
    assert family_of(make_row(arch=arch, model=model)).name == family


def test_llama_shape(make_row: MakeRow) -> None:
    row = make_row(arch="llama", model="Llama3-8B", ffn="3584", heads="32", kv_heads="8", vocab="")
    settings, notes = model_settings(row)
    assert settings == {
        "name": "Llama3-8B",
        "num_layers": 24,
        "hidden_size": 1024,
        "ffn_hidden_size": 3584,
        "num_attention_heads": 32,
        "num_query_groups": 8,
        "head_dim": 32,  # 1024 / 32
        "vocab_size": 32000,
        "normalization": "rmsnorm",
        "position_embedding": "rotary",
        "tied_embeddings": False,
        "use_bias": False,
        "gated_mlp": True,
    }
    assert notes == ["vocab not stated: 32000"]


def test_fine_tuning_of_nemo_attends_within_packed_examples(make_row: MakeRow) -> None:
    packed, notes = model_settings(make_row(task="sft", framework="NeMo/Megatron-Core"))
    assert packed["sliding_window"] == 87  # half of 174
    assert "packed sequences of 174 tokens" in notes[-1]
    whole, notes = model_settings(make_row(task="sft", framework="PaxML (JAX)"))
    assert "sliding_window" not in whole
    assert "full sequences" in notes[-1]
    assert "sliding_window" not in model_settings(make_row(framework="NeMo/Megatron-Core"))[0]


def test_gpt_learns_its_positions_and_the_column_decides_the_gate(make_row: MakeRow) -> None:
    settings, notes = model_settings(make_row(gated_mlp="1"))
    assert settings["max_position_embeddings"] == 1024
    assert settings["gated_mlp"] is True
    assert notes == ["ffn not stated: 4 hidden"]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"n_experts": "8"}, "top_k or moe_ffn of 8 experts is not stated"),
        ({"arch": "moe-mla"}, "architecture moe-mla"),
        ({"arch": "hybrid-mamba"}, "state-space"),
        ({"model": "T5-11B"}, "encoder-decoder"),
        ({"hidden": ""}, "hidden is not stated"),
        ({"hidden": "1000", "heads": "16"}, "hidden 1000 is not divisible by heads 16"),
    ],
)
def test_what_is_not_modelled(make_row: MakeRow, cells: dict[str, str], reason: str) -> None:
    with pytest.raises(CannotRunError, match=reason):
        model_settings(make_row(**cells))


def test_experts_are_those_of_the_columns(make_row: MakeRow) -> None:
    settings, _ = model_settings(make_row(n_experts="8", top_k="2", moe_ffn="512"))
    assert settings["num_experts"] == 8
    assert settings["top_k"] == 2
    assert settings["expert_ffn_hidden_size"] == 512
    assert "num_experts" not in model_settings(make_row(n_experts="1"))[0]
