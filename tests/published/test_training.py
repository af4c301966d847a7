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
        ({"recompute": "not stated (probably selective)"}, "bf16", "selective"),
        ({"recompute": "", "framework": "NeMo"}, "bf16", "none"),
        ({"recompute": "", "framework": "MaxText (JAX)"}, "bf16", "full"),
        (
            {"recompute": "selective: remat_policy=save_qkv_proj", "framework": "MaxText (JAX)"},
            *("bf16", "full"),
        ),
    ],
)
def test_precision_and_recompute(
    make_row: MakeRow, cells: dict[str, str], precision: str, recompute: str
) -> None:
    row = make_row(**cells)
    training, _ = training_settings(row, degrees_of(row)[0])
    assert (training["precision"], training["recompute"]) == (precision, recompute)


@pytest.mark.parametrize("precision", ["nvfp4", "int8"])
def test_unmodelled_precision(make_row: MakeRow, precision: str) -> None:
    row = make_row(precision=precision)
    with pytest.raises(CannotRunError, match=precision):
        training_settings(row, degrees_of(row)[0])
