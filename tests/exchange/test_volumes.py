"""Closed forms of volumes, worked by hand."""

from pathlib import Path

import pytest

from simulator.exchange.volumes import factor_elements, uncompressed_elements
from simulator.model import num_parameters
from simulator.spec.models import ModelInput, load_model
from simulator.spec.validate import validate
from tests.exchange.closed_forms import all_reduce_bytes, mean_saving, one_bit_node_bytes


def test_an_all_reduce_of_two_sends_each_byte_once() -> None:
    assert all_reduce_bytes(10.0, 2) == 10.0
    assert all_reduce_bytes(16.0, 8) == 28.0


def test_signs_through_the_nic() -> None:
    # 8 nodes of 4: 80 bytes of parameters are 10 bytes of signs; every rank sends 28 / 32 of them
    # off its node, 4 ranks 35 bytes; the ring 31 / 32 of 10 bytes, once.
    assert one_bit_node_bytes(80.0, 32, 4) == pytest.approx(35.0 + 9.6875)


def test_a_share_of_the_steps_saves_nothing() -> None:
    assert mean_saving(16.0, 0.0) == 16.0
    assert mean_saving(16.0, 1.0) == 1.0
    assert mean_saving(2.0, 0.5) == pytest.approx(1 / 0.75)


def test_factors_of_a_layer() -> None:
    model, _ = load_model(validate(ModelInput, {"preset": "llama-7b"}, "model"), "model", Path())
    whole = num_parameters(model)
    factors = factor_elements(model, 2, whole, 32, 1)
    # Llama-7B: per layer 4 matrices of 4096 x 4096 and 3 of 4096 x 11008, and two tables.
    expected = 2 * (32 * (4 * 8192 + 3 * 15104) + 2 * (32000 + 4096))
    assert factors == pytest.approx(expected)
    # Norms: 2 of 4096 per layer and one at the end.
    assert uncompressed_elements(model, whole, 32, 1) == pytest.approx(65 * 4096)
