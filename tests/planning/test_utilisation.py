"""Utilisation of a measured throughput, and mistakes recognised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import SpecError, TrainsimError
from simulator.flops import CONVENTIONS
from simulator.machine import Accelerator
from simulator.model import TransformerConfig, num_parameters
from simulator.planning.utilisation import (
    ALL_CONVENTIONS,
    Measurement,
    attainable,
    faster_accelerators,
    origins_of,
    parse_fraction,
    utilisations,
    warnings,
)
from simulator.spec.hardware import load_accelerator
from simulator.spec.load import load_scenario
from simulator.spec.yaml_file import list_data

MODEL = load_scenario("llama2-7b-fsdp").model


def measured(
    tokens_per_s: float,
    accelerator: str = "h100-sxm5-80gb",
    devices: int = 1,
    precision: str = "bf16",
    model: TransformerConfig = MODEL,
) -> Measurement:
    return Measurement(model, 4096, load_accelerator(accelerator), precision, tokens_per_s, devices)


def share(measurement: Measurement, convention: str) -> float:
    (row,) = (row for row in utilisations(measurement) if row.convention == convention)
    return row.utilisation


def test_six_n_by_hand() -> None:
    """6 x 6,738,415,616 x 9,600 = 388.13 TFLOP/s; of 989.4 TFLOP/s 39.23 %."""
    assert num_parameters(MODEL) == 6_738_415_616
    assert share(measured(9600.0), "6n") == pytest.approx(0.39229, abs=1e-5)


def test_palm_by_hand() -> None:
    """6 N + 12 x 32 layers x 4,096 x 4,096 tokens = 40.4305 + 6.4425 = 46.8730 GFLOP a token.

    9,600 x 46.8730 GFLOP = 449.98 TFLOP/s; of 989.4 TFLOP/s 45.48 %.
    """
    assert share(measured(9600.0), "palm") == pytest.approx(0.45480, abs=1e-5)


def test_every_convention_is_there() -> None:
    rows = utilisations(measured(9600.0))
    assert [row.convention for row in rows] == list(ALL_CONVENTIONS)
    assert ALL_CONVENTIONS.keys() > CONVENTIONS.keys()
    assert all(row.counts for row in rows)


@given(st.floats(1.0, 1e7), st.integers(1, 10_000))
def test_devices_divide_the_throughput(tokens_per_s: float, devices: int) -> None:
    alone, many = measured(tokens_per_s), measured(tokens_per_s * devices, devices=devices)
    assert share(many, "palm") == pytest.approx(share(alone, "palm"), rel=1e-9)


def test_a_possible_number_has_no_warning() -> None:
    assert warnings(measured(9600.0), []) == ()


def test_tokens_of_all_devices_over_one_peak_are_recognised() -> None:
    """8 x 9,600 tokens/s of a node taken as those of one device."""
    found = warnings(measured(8 * 9600.0), [])
    assert "impossible" in found[0]
    assert any("those of 8 devices, not of 1" in line for line in found[1:])


def test_another_precision_is_recognised() -> None:
    """A run in fp8 at 90 % of the bf16 peak is one at 45 % of its own."""
    fast = 9600.0 * 0.9 / share(measured(9600.0), "megatron_causal")
    found = warnings(measured(fast), [])
    assert "more than" in found[0]
    assert any("fp8, peak 1979" in line and "45.0 %" in line for line in found)


def test_another_accelerator_is_recognised() -> None:
    """A B200's throughput over an A100's peak: torchtitan once printed 200 % so."""
    measurement = measured(19_000.0, "a100-sxm4-80gb")
    known = [load_accelerator(name) for name in list_data("accelerators")]
    faster: list[Accelerator] = faster_accelerators(measurement, known)
    peaks = [a.peak_flops_per_s["bf16"] for a in faster]
    assert peaks == sorted(peaks)
    assert all(peak > measurement.peak_flops_per_s for peak in peaks)
    assert any(faster[0].name in line for line in warnings(measurement, faster))


def test_sparsity_explains_nothing_where_there_is_none() -> None:
    """A V100 has no sparse peak, an A100 has."""
    for name, expected in (("v100-sxm2-32gb", False), ("a100-sxm4-80gb", True)):
        peak = load_accelerator(name).peak_flops_per_s["fp16"]
        rate = peak / 46.9e9 * 1.2  # about 120 % of the peak, see the PaLM count above
        found = warnings(measured(rate, name, precision="fp16"), [])
        assert any("sparsity" in line for line in found) is expected


def test_all_explanations_are_possible() -> None:
    for tokens_per_s in (2e4, 5e4, 1e6, 1e8):
        lines = warnings(measured(tokens_per_s), [])[1:]
        limit = attainable(measured(1.0))
        assert all(float(line.split(": ")[-1].rstrip(" %")) / 100 <= limit for line in lines)


def test_a_reported_number_finds_its_convention() -> None:
    measurement = measured(9600.0)
    for row in utilisations(measurement):
        found = origins_of(measurement, row.utilisation)
        assert any(hint.words.startswith(f"{row.convention}, dense peak") for hint in found)
    half = origins_of(measurement, share(measurement, "palm") / 2)
    assert any("sparse" in hint.words for hint in half)
    assert origins_of(measurement, 7.0) == ()


@pytest.mark.parametrize(("text", "value"), [("45%", 0.45), ("45 %", 0.45), ("0.45", 0.45)])
def test_fraction(text: str, value: float) -> None:
    assert parse_fraction(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "x", "-1", "45%%", "45 % of it"])
def test_what_is_no_fraction_is_said(text: str) -> None:
    with pytest.raises(TrainsimError):
        parse_fraction(text)


def test_an_unknown_precision_names_the_known_ones() -> None:
    with pytest.raises(SpecError, match="no precision 'fp8'") as error:
        utilisations(measured(1.0, "a100-sxm4-80gb", precision="fp8"))
    assert "bf16" in error.value.hint
