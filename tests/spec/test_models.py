"""Presets against published parameter counts; model fields that follow from others."""

from pathlib import Path

import pytest

from simulator.errors import SpecError, UnknownNameError
from simulator.model import TransformerConfig, num_parameters
from simulator.spec.models import ModelInput, load_model, model_presets
from simulator.spec.validate import validate


def model_of(**fields: object) -> TransformerConfig:
    return load_model(validate(ModelInput, fields, "model"), "model", Path())[0]


# Counts of the published checkpoints, to the parameter.
EXACT = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "opt-125m": 125_239_296,
    "opt-1.3b": 1_315_758_080,
    "opt-2.7b": 2_651_596_800,
    "opt-6.7b": 6_658_473_984,
    "opt-13b": 12_853_473_280,
    "opt-30b": 29_974_540_288,
    "llama-7b": 6_738_415_616,
    "llama-13b": 13_015_864_320,
    "llama-30b": 32_528_943_616,
    "llama-65b": 65_285_660_672,
    "llama2-7b": 6_738_415_616,
    "llama2-13b": 13_015_864_320,
    "llama2-70b": 68_976_648_192,
    "llama3-8b": 8_030_261_248,
    "llama3-70b": 70_553_706_496,
    "llama3-405b": 405_853_388_800,
    "mistral-7b": 7_241_732_096,
    "mixtral-8x7b": 46_702_792_704,
    "mixtral-8x22b": 140_620_634_112,
    # Without 2 * 128 weights of the norms of queries and keys per layer.
    "qwen3-30b-a3b": 30_532_122_624 - 48 * 256,
    "qwen3-235b-a22b": 235_093_634_560 - 94 * 256,
}

# name -> (published billions, half of the last printed digit).
ROUNDED = {
    "gpt3-125m": (0.125, 0.0005),
    "gpt3-350m": (0.356, 0.0005),
    "gpt3-760m": (0.760, 0.0005),
    "gpt3-1.3b": (1.32, 0.005),
    "gpt3-2.7b": (2.65, 0.005),
    "gpt3-6.7b": (6.66, 0.005),
    "gpt3-13b": (12.85, 0.005),
    "gpt3-175b": (174.6, 0.05),
    "megatron-1.7b": (1.7, 0.05),
    "megatron-3.6b": (3.6, 0.05),
    "megatron-7.5b": (7.5, 0.05),
    "megatron-18b": (18.4, 0.05),
    "megatron-39b": (39.1, 0.05),
    "megatron-76b": (76.1, 0.05),
    "megatron-145b": (145.6, 0.05),
    "megatron-310b": (310.1, 0.05),
    "megatron-530b": (529.6, 0.05),
    "megatron-1t": (1008.0, 0.05),
    "mt-nlg-530b": (530, 0.5),
    "gpt-22b": (22, 0.5),
    "megascale-175b": (175, 0.5),
    "megascale-530b": (530, 0.5),
    "frontier-22b": (22, 0.5),
    "frontier-175b": (175, 0.5),
    "frontier-1t": (1008, 0.5),
    "turing-nlg-17b": (17, 0.5),
    "opt-175b": (175, 0.5),
    "palm-8b": (8.63, 0.005),
    "palm-62b": (62.50, 0.005),
    # 540.35 is printed; two biases of LayerNorm that PaLM does not have make 4 million of 540.36.
    "palm-540b": (540.35, 0.01),
    # 20_554_567_680 and 176_247_271_424: NeoX has a second norm in its parallel block, BLOOM one
    # after the embedding; neither is modelled (0.5 and 0.03 million).
    "gpt-neox-20b": (20.554567680, 0.0006),
    "bloom-176b": (176.247271424, 0.00003),
    # BertForPreTraining has 110_106_428 and 336_226_108. The model has no bias-free 2-class head
    # (2 h + 2) but a last norm (2 h).
    "bert-base": (0.110106428, 3e-9),
    "bert-large": (0.336226108, 3e-9),
    "zero-100b": (100, 1.2),
    "opt-66b": (66, 0.5),
    "llama2-34b": (34, 0.5),
}


@pytest.mark.parametrize("name", EXACT)
def test_preset_has_the_parameters_of_its_checkpoint(name: str) -> None:
    assert num_parameters(model_of(preset=name)) == EXACT[name]


@pytest.mark.parametrize("name", ROUNDED)
def test_preset_has_the_printed_size(name: str) -> None:
    billions, tolerance = ROUNDED[name]
    assert num_parameters(model_of(preset=name)) / 1e9 == pytest.approx(billions, abs=tolerance)


def test_every_preset_is_held_against_a_publication() -> None:
    assert set(model_presets()) == EXACT.keys() | ROUNDED.keys()


def test_palm_by_hand() -> None:
    model = model_of(preset="palm-540b")
    # 18432 * (12288 + 2 * 256) + 12288 * 18432 + 3 * 18432 * 73728 = 4_539_285_504 per layer
    matrices = 118 * (235_929_600 + 226_492_416 + 4_076_863_488)
    table = 256_000 * 18_432
    norms = (118 + 1) * 2 * 18_432
    assert num_parameters(model) == matrices + table + norms
    assert (model.num_query_groups, model.head_dim, model.parallel_block) == (1, 256, True)


def test_widths_that_are_left_out_follow_from_the_others() -> None:
    model = model_of(num_layers=2, hidden_size=64, num_attention_heads=4, vocab_size=100)
    assert (model.ffn_hidden_size, model.num_query_groups, model.head_dim) == (256, 4, 16)


def test_fields_replace_those_of_the_preset() -> None:
    model = model_of(preset="mistral-7b", sliding_window=None, num_layers=4)
    assert (model.sliding_window, model.num_layers, model.hidden_size) == (None, 4, 4096)
    assert model_of(preset="gpt2", hidden_size=1536).ffn_hidden_size == 6144


def test_names_of_presets_forgive_case_and_underscores() -> None:
    assert model_of(preset="GPT3_175B") == model_of(preset="gpt3-175b")


@pytest.mark.parametrize(
    ("fields", "problem", "hint"),
    [
        ({"preset": "gpt3-176b"}, "unknown model 'gpt3-176b'", "gpt3-175b"),
        ({"preset": "gpt2", "hf_config": "x.json"}, "both preset", "keep one"),
        ({"preset": "gpt2", "num_attention_heads": 7}, "768 is not divisible by", "head_dim"),
        ({"preset": "gpt2", "num_query_groups": 5}, "12 is not divisible by num_query", "same"),
        ({"num_layers": 2}, "'hidden_size' is missing", "add the key"),
        ({"preset": "gpt2", "hiden_size": 8}, "unknown key 'hiden_size'", "hidden_size"),
    ],
)
def test_wrong_models_say_what_is_wrong(fields: dict[str, object], problem: str, hint: str) -> None:
    with pytest.raises(SpecError) as caught:
        model_of(**fields)
    assert problem in str(caught.value)
    assert hint in caught.value.hint


def test_an_unknown_preset_is_an_unknown_name() -> None:
    with pytest.raises(UnknownNameError):
        model_of(preset="nothing-like-it")
