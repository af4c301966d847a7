from collections.abc import Callable

import pytest

from simulator.published.layout import degrees_of
from simulator.published.rows import CannotRunError, PublishedRow
from simulator.published.training import training_settings

MakeRow = Callable[..., PublishedRow]


@pytest.mark.parametrize(
    ("cells", "precision", "recompute"),
    [
        ({}, "bf16", "none"),
        ({"precision": "fp16 mixed", "recompute": "full (every layer)"}, "fp16", "full"),
        ({"precision": "fp16/bf16 mixed (not stated)"}, "fp16", "none"),
        ({"precision": "bf16/fp16 mixed"}, "bf16", "none"),
        ({"precision": "mxfp8", "recompute": "selective (core_attn)"}, "fp8", "selective"),
        ({"precision": "tf32", "recompute": "policy:minimal"}, "tf32", "selective"),
        ({"precision": "", "recompute": "", "year": "2020"}, "fp16", "full"),
        ({"recompute": "selective op (torchtitan SAC: every 2nd matmul)"}, "bf16", "alternate"),
        ({"recompute": "not stated (probably selective)"}, "bf16", "selective"),
        ({"recompute": "", "framework": "NeMo"}, "bf16", "none"),
        ({"recompute": "", "framework": "MaxText (JAX)"}, "bf16", "full"),
    ],
)
def test_precision_and_recompute(
    make_row: MakeRow, cells: dict[str, str], precision: str, recompute: str
) -> None:
    row = make_row(**cells)
    training, _ = training_settings(row, degrees_of(row)[0])
    assert (training["precision"], training["recompute"]) == (precision, recompute)


@pytest.mark.parametrize(
    ("framework", "stated", "tokens"),
    [
        ("NVIDIA PyTorch BERT (apex)", "512", 288),
        ("NVIDIA PyTorch BERT (apex)", "128", 128),
        ("Megatron-LM", "512", 512),
    ],
)
def test_binned_sequences_are_shorter_than_stated(
    make_row: MakeRow, framework: str, stated: str, tokens: int
) -> None:
    row = make_row(framework=framework, seq_len=stated)
    assert training_settings(row, degrees_of(row)[0])[0]["seq_length"] == tokens


@pytest.mark.parametrize(
    ("hfu", "recompute"), [("46", {"mode": "full", "num_layers": 8}), ("", "selective")]
)
def test_checkpointed_blocks_by_the_two_utilisations(
    make_row: MakeRow, hfu: str, recompute: object
) -> None:
    """fms-fsdp's Llama 2 13B: 3 x (46 / 43 - 1) = 0.21 of 40 blocks."""
    cells = {"recompute": "selective (AC on a fraction of blocks)", "layers": "40"}
    row = make_row(**cells, mfu_pct="43", hfu_pct=hfu)
    assert training_settings(row, degrees_of(row)[0])[0]["recompute"] == recompute


def test_maxtext_recomputes_whole_layers_by_default(make_row: MakeRow) -> None:
    row = make_row(recompute="", framework="MaxText (JAX)")
    assert training_settings(row, degrees_of(row)[0])[0]["recompute"] == "full"


def test_the_policy_that_keeps_queries_keys_and_values(make_row: MakeRow) -> None:
    row = make_row(recompute="selective: MaxText remat_policy=save_qkv_proj")
    training, _ = training_settings(row, degrees_of(row)[0])
    assert training["recompute"] == {"mode": "full", "keeps_qkv": True}


@pytest.mark.parametrize("precision", ["nvfp4", "int8"])
def test_unmodelled_precision(make_row: MakeRow, precision: str) -> None:
    row = make_row(precision=precision)
    with pytest.raises(CannotRunError, match=precision):
        training_settings(row, degrees_of(row)[0])


@pytest.mark.parametrize(
    ("mfu", "hfu", "convention", "recompute"),
    [
        ("30", "40", "6N + 12Lds, hfu 4/3 with act-ckpt", "full"),
        ("30", "30", "6N + 12Lds, hfu 4/3 with act-ckpt", "none"),
        ("30", "40", "palm", "none"),
    ],
)
def test_utilisations_that_count_recomputation(
    make_row: MakeRow, mfu: str, hfu: str, convention: str, recompute: str
) -> None:
    cells = {"mfu_pct": mfu, "hfu_pct": hfu, "flops_convention": convention, "recompute": "none"}
    row = make_row(**cells)
    training, notes = training_settings(row, degrees_of(row)[0])
    assert training["recompute"] == recompute
    assert any("4/3" in note for note in notes) is (recompute == "full")
