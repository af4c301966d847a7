"""Memory-bound kernels: every family of the table, and times worked by hand."""

import numpy as np
import pytest

from simulator.cost.memory_bound import (
    CURVE_KEYS,
    FAMILIES,
    elementwise_s,
    memory_bound_s,
    moved_bytes,
)


def test_bytes_by_hand():
    # Dropout on 1000 bf16 elements: read, write and a mask byte: 1000 * (2 * 2 + 1).
    assert moved_bytes("dropout", 1000.0, 2.0) == 5000
    # Adam on 10 parameters: 28 B of fp32 state and a 2-byte copy.
    assert moved_bytes("adam_fused", 10.0, 2.0) == 300
    # LayerNorm backward reads x and dy twice, writes dx: 5 elements.
    assert moved_bytes("layernorm_eager", 10.0, 2.0, backward=True) == 100


def test_time_by_hand(accelerator):
    # 1 GB at half of 1 TB/s, and three launches of 2 us: 2 ms + 6 us.
    assert memory_bound_s(1e9, "add", accelerator, 3) == pytest.approx(2.006e-3, rel=1e-12)


def test_kernels_without_work_are_not_launched(accelerator):
    times_s = memory_bound_s(np.array([0.0, 1e9]), "add", accelerator, 3)
    assert np.asarray(times_s).tolist() == [0.0, memory_bound_s(1e9, "add", accelerator, 3)]


def test_elementwise_counts_every_kernel_of_the_family(accelerator):
    # Eager scale, mask and softmax: 3 launches, 6 * 2 + 1 = 13 bytes per element.
    time_s = elementwise_s("softmax_eager", 1e6, 2.0, accelerator)
    assert time_s == pytest.approx(3 * 2e-6 + 13e6 / 0.5e12, rel=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
class TestFamilies:
    """The contract of one row."""

    def test_names_a_measured_curve_and_a_source(self, family):
        assert FAMILIES[family].curve in CURVE_KEYS
        assert FAMILIES[family].source

    def test_reads_and_writes_at_least_a_byte(self, family):
        row = FAMILIES[family]
        assert moved_bytes(family, 1.0, 2.0) >= 1.0 + 1.0
        assert row.forward_kernels >= 1
        # a backward that moves data is launched, and the other way round
        assert (moved_bytes(family, 1.0, 2.0, backward=True) > 0) == (row.backward_kernels > 0)

    @pytest.mark.parametrize("backward", [False, True])
    def test_scalar_equals_row(self, family, backward, accelerator):
        counts = np.array([1.0, 1e3, 1e9])
        rows = elementwise_s(family, counts, 2.0, accelerator, backward=backward)
        single = [elementwise_s(family, c, 2.0, accelerator, backward=backward) for c in counts]
        np.testing.assert_allclose(rows, single, rtol=1e-14)
        assert np.all(np.diff(rows) >= 0)


@pytest.mark.parametrize(
    ("fused", "eager"),
    [(name, name.replace("_fused", "_eager")) for name in FAMILIES if name.endswith("_fused")],
)
def test_fusing_never_moves_more(fused, eager):
    if eager in FAMILIES:
        for backward in (False, True):
            assert moved_bytes(fused, 1.0, 2.0, backward=backward) <= moved_bytes(
                eager, 1.0, 2.0, backward=backward
            )


def test_every_curve_is_used():
    assert {row.curve for row in FAMILIES.values()} == set(CURVE_KEYS)


def test_bytes_of_a_cross_entropy_in_pytorch_over_half_precision_logits():
    # Forward: half in 2, fp32 out 4; log-softmax 4 + 4. Backward: gradient 4, log-softmax
    # 4 + 4 + 4, fp32 in 4, half out 2.
    assert moved_bytes("cross_entropy_eager", 1.0, 2.0) == 14
    assert moved_bytes("cross_entropy_eager", 1.0, 2.0, backward=True) == 22


def test_bytes_of_a_16_bit_loss_over_another_dimension_than_the_last():
    # Forward: maximum 2, sum 2, result 2 + 2. Backward: zeros 2, sum 2 + 2, result 2 + 2 + 2.
    assert moved_bytes("cross_entropy_eager_16_bit", 1.0, 2.0) == 8
    assert moved_bytes("cross_entropy_eager_16_bit", 1.0, 2.0, backward=True) == 12


def test_bytes_of_transformer_engines_cross_entropy():
    # Forward: 2 for maximum and sum, 2 read and 2 written for the gradient. Backward: 2 + 2.
    assert moved_bytes("cross_entropy_vocab_parallel_te", 1.0, 2.0) == 6
    assert moved_bytes("cross_entropy_vocab_parallel_te", 1.0, 2.0, backward=True) == 4
