from __future__ import annotations

from collections.abc import Callable

import pytest

from simulator.published.offload import offload_settings
from simulator.published.rows import CannotRunError, PublishedRow

MakeRow = Callable[..., PublishedRow]


@pytest.mark.parametrize(
    ("text", "homes"),
    [
        ("CPU params+optimizer", ["host", "host", "host", "device"]),
        ("CPU (params+optimizer)", ["host", "host", "host", "device"]),
        (
            "fp16 params: NVMe/CPU; optimizer: NVMe; activations: CPU",
            ["nvme", "nvme", "nvme", "host"],
        ),
        (
            "fp16 params: GPU; optimizer: GPU; activations: CPU",
            ["device", "device", "device", "host"],
        ),
    ],
)
def test_words_become_homes(make_row: MakeRow, text: str, homes: list[str]) -> None:
    settings = offload_settings(make_row(offload=text))
    assert settings is not None
    kinds = ("weights", "gradients", "optimizer", "activations")
    assert [settings[kind] for kind in kinds] == homes


def test_fuyou_updates_in_the_backward_and_zero_infinity_after_it(make_row: MakeRow) -> None:
    text = "NVMe + CPU (optimizer states, activations)"
    moments = [
        (offload_settings(make_row(offload=text, framework=name)) or {})["optimizer_moment"]
        for name in ("Fuyou", "ZeRO-Infinity")
    ]
    assert moments == ["in_backward", "after_step"]


def test_nothing_stated_is_no_offload(make_row: MakeRow) -> None:
    assert offload_settings(make_row(offload="none")) is None


def test_other_words_are_not_guessed(make_row: MakeRow) -> None:
    with pytest.raises(CannotRunError, match="not modelled"):
        offload_settings(make_row(offload="activations per remat policy"))
