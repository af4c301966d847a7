from __future__ import annotations

import pytest

from simulator.units import format_seconds, format_si, parse_quantity, percent


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("450 GB/s", "bandwidth", 450e9),
        ("400 Gb/s", "bandwidth", 50e9),
        ("80 GiB", "bytes", 80 * 2**30),
        ("2 us", "time", 2e-6),
        ("312 TFLOP/s", "compute", 312e12),
    ],
)
def test_quantities_become_si(text: str, dimension: str, value: float) -> None:
    assert parse_quantity(text, dimension) == pytest.approx(value)


def test_values_read_well() -> None:
    assert format_si(4.5e11, "B/s") == "450 GB/s"
    assert format_si(0.0, "B") == "0 B"
    assert [format_seconds(s) for s in (12.345, 0.002, 3e-6)] == ["12.3 s", "2 ms", "3 us"]


def test_percent() -> None:
    assert percent(0.4567) == "45.7 %"
    assert percent(0.125, signed=True) == "+12.5 %"
    assert percent(None) == "-"
