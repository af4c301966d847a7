"""Import of config.json: the shapes of well-known checkpoints, and refusal of all others."""

import json
from pathlib import Path

import pytest

from simulator.errors import SpecError
from simulator.model import TransformerConfig, num_parameters
from simulator.spec.hf_config import read_hf_config
from simulator.spec.models import ModelInput, load_model

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 8192,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "vocab_size": 128256,
}
GPT2 = {
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "n_ctx": 1024,
    "n_embd": 768,
    "n_head": 12,
    "n_inner": None,
    "n_layer": 12,
    "n_positions": 1024,
    "vocab_size": 50257,
}
OPT = {
    "model_type": "opt",
    "ffn_dim": 8192,
    "hidden_size": 2048,
    "max_position_embeddings": 2048,
    "num_attention_heads": 32,
    "num_hidden_layers": 24,
    "vocab_size": 50272,
    "word_embed_proj_dim": 2048,
}
BERT = {
    "model_type": "bert",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "max_position_embeddings": 512,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}
MISTRAL = LLAMA | {"model_type": "mistral", "sliding_window": 4096, "vocab_size": 32000}


def imported(tmp_path: Path, config: object) -> TransformerConfig:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    return load_model(ModelInput(hf_config="config.json"), "model", tmp_path)[0]


MIXTRAL = LLAMA | {
    "model_type": "mixtral",
    "num_experts_per_tok": 2,
    "num_local_experts": 8,
    "router_aux_loss_coef": 0.02,
    "output_router_logits": False,
    "sliding_window": None,
    "vocab_size": 32000,
}
QWEN3_MOE = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "decoder_sparse_step": 1,
    "head_dim": 128,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "mlp_only_layers": [],
    "model_type": "qwen3_moe",
    "moe_intermediate_size": 768,
    "norm_topk_prob": True,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "router_aux_loss_coef": 0.001,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "vocab_size": 151936,
}


def test_experts_that_a_dense_family_cannot_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'num_local_experts' is set to 8"):
        imported(tmp_path, LLAMA | {"num_local_experts": 8})
    with pytest.raises(SpecError, match="'shared_expert_intermediate_size' is set to"):
        imported(tmp_path, QWEN3_MOE | {"shared_expert_intermediate_size": 5632})


@pytest.mark.parametrize(
    ("config", "preset"),
    [
        (MIXTRAL, "mixtral-8x7b"),
        (QWEN3_MOE, "qwen3-30b-a3b"),
        (LLAMA, "llama3-8b"),
        (GPT2, "gpt2"),
        (OPT, "opt-1.3b"),
        (BERT, "bert-large"),
        (MISTRAL, "mistral-7b"),
    ],
)
def test_import_equals_the_preset(tmp_path: Path, config: object, preset: str) -> None:
    expected, _ = load_model(ModelInput(preset=preset, name="same"), "model", tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    data = ModelInput(hf_config=str(path), name="same")
    assert load_model(data, "model", Path())[0] == expected


def test_fields_replace_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    data = ModelInput(hf_config="config.json", num_layers=2, vocab_size=1000)
    model, _ = load_model(data, "model", tmp_path)
    assert (model.num_layers, model.vocab_size, model.num_query_groups) == (2, 1000, 8)


@pytest.mark.parametrize(
    "extra",
    [
        {"num_local_experts": 8},
        {"moe_intermediate_size": 1408},
        {"kv_lora_rank": 512},
        {"mamba_d_state": 16},
        {"ssm_cfg": {"layer": "Mamba2"}},
        {"linear_num_key_heads": 16},
        {"num_mtp_layers": 1},
        {"layer_types": ["full_attention", "sliding_attention"]},
    ],
)
def test_what_would_change_the_flops_is_refused(tmp_path: Path, extra: dict[str, object]) -> None:
    with pytest.raises(SpecError, match=f"'{next(iter(extra))}' is set to"):
        imported(tmp_path, LLAMA | extra)


@pytest.mark.parametrize(
    "extra",
    [{"num_local_experts": 0}, {"num_experts": None}, {"layer_types": ["full_attention"] * 32}],
)
def test_keys_that_say_dense_are_accepted(tmp_path: Path, extra: dict[str, object]) -> None:
    assert num_parameters(imported(tmp_path, LLAMA | extra)) == 8_030_261_248


def test_a_window_that_is_switched_off_is_none(tmp_path: Path) -> None:
    config = LLAMA | {"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": False}
    assert imported(tmp_path, config).sliding_window is None


def test_ignored_keys_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAMA | {"logit_softcap": 30.0}))
    _, notes = read_hf_config(path)
    assert [note.value for note in notes] == ["ignored: logit_softcap"]
    path.write_text(json.dumps(LLAMA))
    assert read_hf_config(path)[1] == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not valid JSON"),
        ("[1]", "not a JSON object"),
        ('{"model_type": "llamma"}', "unknown model_type 'llamma'"),
        ("{}", "unknown model_type 'None'"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        read_hf_config(path)
    assert problem in caught.value.problem


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is no file"):
        read_hf_config(tmp_path / "none.json")
    with pytest.raises(SpecError, match="is a directory"):
        read_hf_config(tmp_path)
