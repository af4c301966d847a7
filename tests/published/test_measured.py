from collections.abc import Callable

import pytest

from simulator.model import TransformerConfig
from simulator.published.measured import (
    convention_of,
    measured_fit,
    measured_memory_bytes,
    measured_step_time_s,
)
from simulator.published.rows import PublishedRow

MakeRow = Callable[..., PublishedRow]
MODEL = TransformerConfig("gpt", 24, 1024, 4096, 16, 16, 64, 51200, max_position_embeddings=1024)
NO_TIME = {"step_time_s": ""}


def measure(row: PublishedRow) -> tuple[float | None, str]:
    return measured_step_time_s(row, MODEL, 32, 8)


def test_printed_time_comes_first(make_row: MakeRow) -> None:
    assert measure(make_row(tokens_per_s="1", tflops_per_gpu="1")) == (0.5, "")


def test_tokens_per_s(make_row: MakeRow) -> None:
    """32 sequences of 1024 tokens at 16384 tokens/s: 2 s."""
    assert measure(make_row(**NO_TIME, tokens_per_s="16384")) == (2.0, "time from tokens/s")


def test_samples_per_s(make_row: MakeRow) -> None:
    assert measure(make_row(**NO_TIME, samples_per_s="64")) == (0.5, "time from sequences/s")


def test_tflops_by_hand(make_row: MakeRow) -> None:
    """96 B s L h^2 (1 + s/6h + V/16Lh) for B 32, s 1024, L 24, h 1024, V 51200.

    96 * 32 * 1024 * 24 * 1024^2 = 7.9165e13; 1 + 1/6 + 51200/393216 = 1.29688;
    7.9165e13 * 1.29688 = 1.02667e14 FLOPs; on 8 devices of 50 TFLOP/s: 0.256667 s.
    """
    row = make_row(**NO_TIME, tflops_per_gpu="50", flops_convention="megatron96")
    time_s, note = measure(row)
    assert time_s == pytest.approx(0.256667, rel=1e-5)
    assert note == "time from TFLOP/s as megatron_hardware"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("megatron96", "megatron_hardware"),
        ("megatron96 (hardware, recalled)", "megatron_hardware"),
        ("Narayanan SC21 eq.3 HW FLOPs: 96*B*s*l*h^2*(1+s/(6h)+V/(16*l*h))", "megatron_hardware"),
        ("not stated (hardware, DeepSpeed)", "megatron_hardware"),
        ("megatron72", "megatron_model"),
        ('NeMo "Model TFLOP" (arXiv:2205.05198 App.A), NOT causal-halved', "megatron_model"),
        ('Megatron-Bridge "Model TFLOP": attention IS causal-halved', "megatron_causal"),
        ("6*N*s + 12*l*h*s^2 (attention not halved)", "palm"),
        ("PaLM MFU (6N + 12LHQT)", "palm"),
        ("8N", "eight_n"),
        ("6N", "six_n"),
    ],
)
def test_convention_words(make_row: MakeRow, text: str, name: str) -> None:
    count = convention_of(make_row(flops_convention=text))
    assert count is not None
    assert count.__name__ == f"{name}_flops"


@pytest.mark.parametrize("text", ["", "not stated", "MaxText after PR#1988 (causal-halved)"])
def test_unknown_convention_gives_no_time(make_row: MakeRow, text: str) -> None:
    row = make_row(**NO_TIME, tflops_per_gpu="50", flops_convention=text)
    assert measure(row) == (None, "no measured time: TFLOP/s without a FLOP convention")


def test_nothing_measured(make_row: MakeRow) -> None:
    row = make_row(**NO_TIME)
    assert measure(row) == (None, "no measured time")
    assert measured_fit(row) is None


def test_memory_units(make_row: MakeRow) -> None:
    assert measured_memory_bytes(make_row(memory_gb="10")) == 10e9
    gib = make_row(memory_gb="10", memory_kind="torch max_allocated, GiB, worst rank")
    assert measured_memory_bytes(gib) == 10 * 2**30
    assert measured_memory_bytes(make_row()) is None


def test_fits(make_row: MakeRow) -> None:
    assert measured_fit(make_row(fits="0")) is False
    assert measured_fit(make_row(fits="1")) is True
    assert measured_fit(make_row()) is True  # a measured time: it ran
