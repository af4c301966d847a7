"""Products and reductions in chunks, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.cost.chunked import chunked_s, near_memory_bytes, sm_slowdown

SECONDS = st.floats(min_value=1e-6, max_value=10.0)


def test_one_chunk_is_one_after_the_other() -> None:
    assert chunked_s(3.0, 2.0, 1) == pytest.approx(5.0)


def test_four_chunks() -> None:
    """G = 8, R = 4, C = 4: 8 / 4 + 3 * 8 / 4 + 4 / 4 = 9; the other way round the same."""
    assert chunked_s(8.0, 4.0, 4) == pytest.approx(9.0)
    assert chunked_s(4.0, 8.0, 4) == pytest.approx(9.0)


@given(SECONDS, SECONDS, st.integers(1, 1000))
def test_between_the_longer_one_and_both(product: float, scatter: float, chunks: int) -> None:
    """Never below max(G, R), never above G + R, and shorter with more chunks."""
    seconds = chunked_s(product, scatter, chunks)
    assert max(product, scatter) <= seconds * (1 + 1e-12)
    assert seconds <= (product + scatter) * (1 + 1e-12)
    assert chunked_s(product, scatter, chunks + 1) <= seconds * (1 + 1e-12)


def test_measured_slowdowns_of_few_sms() -> None:
    """T3: 41 % on 8 compute units, 7 % on 16; nothing is left on all 80."""
    assert sm_slowdown(8) == pytest.approx(1.41, abs=0.005)
    assert sm_slowdown(16) == pytest.approx(1.07, abs=0.005)
    assert sm_slowdown(80) == pytest.approx(1.0, abs=0.001)


def test_example_of_the_paper() -> None:
    """A product of 0.67 of its reduction: ideal 1.67, on 8 units 1.18 (published both).

    On 16 the reduction takes 1.07, and 1.67 / 1.07 = 1.56; 1.49 is published: 5 % more are lost.
    """
    product, chunks = 0.67, 1_000_000
    apart = 1.0 + product

    def gain(sms: int, slower: float) -> float:
        return apart / chunked_s(product * slower, sm_slowdown(sms), chunks)

    assert gain(80, 1.0) == pytest.approx(1.67, abs=0.005)
    assert gain(8, 1.11) == pytest.approx(1.18, abs=0.01)
    assert gain(16, 1.21) == pytest.approx(1.49, rel=0.055)


def test_near_memory_traffic() -> None:
    """64 MB over 8 ranks: 56 MB leave, 56 MB arrive and are added where they lie."""
    assert near_memory_bytes(64e6 * 7 / 8) == pytest.approx(112e6)
