"""Ranges, amounts and durations as users write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import SpecError
from simulator.spec.ranges import (
    amount_text,
    duration_text,
    parse_amount,
    parse_duration,
    parse_range,
    parse_words,
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("7", (7,)),
        ("8k:64k:x2", (8192, 16384, 32768, 65536)),
        ("128:4096:x2", (128, 256, 512, 1024, 2048, 4096)),
        ("1:100:x10", (1, 10, 100)),
        ("10:25:+5", (10, 15, 20, 25)),
        ("10:24:+5", (10, 15, 20)),
        ("4, 2,4:8:x2", (4, 2, 8)),
        ("5:5:x2", (5,)),
    ],
)
def test_range(text: str, values: tuple[int, ...]) -> None:
    assert parse_range(text) == values


@pytest.mark.parametrize(
    "text",
    ["", "0", "-1", "1.5", "a", "1:2", "1:8:2", "1:8:x1", "1:8:+0", "8:1:x2", "1:9:x2:3", "1,,2"],
)
def test_what_is_no_range_is_said(text: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_range(text)
    assert error.value.hint


def test_a_range_cannot_explode() -> None:
    with pytest.raises(SpecError, match="more than 1000"):
        parse_range("1:100000000:+1")


@given(st.lists(st.integers(1, 10**9), min_size=1, unique=True))
def test_a_list_reads_back(values: list[int]) -> None:
    assert parse_range(",".join(map(str, values))) == tuple(values)


@given(st.integers(1, 1000), st.integers(1, 8), st.integers(2, 4))
def test_a_factor_includes_both_ends(first: int, count: int, factor: int) -> None:
    values = parse_range(f"{first}:{first * factor**count}:x{factor}")
    assert values == tuple(first * factor**k for k in range(count + 1))


@pytest.mark.parametrize(
    ("text", "value"),
    [("15T", 15e12), ("300B", 300e9), ("$5M", 5e6), ("2.5", 2.5), ("500k", 5e5), ("1e9", 1e9)],
)
def test_amount(text: str, value: float) -> None:
    assert parse_amount(text, "tokens") == value


@pytest.mark.parametrize("text", ["", "0", "-3", "5x", "T", "nan", "1e999"])
def test_what_is_no_amount_is_said(text: str) -> None:
    with pytest.raises(SpecError, match="amount of tokens"):
        parse_amount(text, "tokens")


def test_duration() -> None:
    assert parse_duration("60d") == 60 * 86400
    assert parse_duration("12 h") == 12 * 3600
    for text in ("0 d", "60", "60 GB"):
        with pytest.raises(SpecError):
            parse_duration(text)


def test_words() -> None:
    assert parse_words("none, full,none") == ("none", "full")
    with pytest.raises(SpecError, match="empty word"):
        parse_words("none,,full")


@pytest.mark.parametrize(
    ("value", "text"),
    [(15e12, "15T"), (1.5e9, "1.5B"), (300e6, "300M"), (2.5, "2.5"), (20_480, "20,480")],
)
def test_amounts_are_shown_as_they_are_read(value: float, text: str) -> None:
    assert amount_text(value) == text
    assert parse_amount(text, "tokens") == value


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5_184_000, "60 days"), (5400, "1.5 h"), (3600, "1 h"), (90, "1.5 min"), (2, "2 s")],
)
def test_durations_are_shown_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
