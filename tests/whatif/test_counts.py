"""Numbers of devices as users write them."""

import pytest

from simulator.errors import SpecError
from simulator.whatif.counts import MAX_COUNTS, device_counts


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("128:4096:x2", (128, 256, 512, 1024, 2048, 4096)),
        ("64:250:+64", (64, 128, 192)),
        ("96,128, 64", (64, 96, 128)),
        ("8", (8,)),
        ("8:8:x2", (8,)),
        ("128:512:x2,96,256", (96, 128, 256, 512)),
        ("1:100:x10", (1, 10, 100)),
    ],
)
def test_texts_stand_for_numbers(text: str, counts: tuple[int, ...]) -> None:
    assert device_counts(text) == counts


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-8",
        "x",
        "8:4:x2",
        "0:8:+1",
        "8:64:x1",
        "8:64:+0",
        "8:64:2",
        "8:64",
        "8,,16",
        "1e3",
    ],
)
def test_other_texts_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        device_counts(text)
    assert "128:4096:x2" in caught.value.hint


def test_there_is_a_limit() -> None:
    assert len(device_counts(f"1:{MAX_COUNTS}:+1")) == MAX_COUNTS
    with pytest.raises(SpecError, match=f"more than {MAX_COUNTS}"):
        device_counts("1:1000000000:+1")
