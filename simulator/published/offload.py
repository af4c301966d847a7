"""Turns what a row says about offload into homes of states and activations."""

from __future__ import annotations

import re
from typing import Final

from simulator.published.families import Settings
from simulator.published.rows import CannotRunError, PublishedRow

_TIERS: Final = {"gpu": "device", "cpu": "host", "nvme": "nvme", "nvme/cpu": "nvme"}
_STATED: Final = re.compile(r"fp16 params: ([a-z/]+); optimizer: ([a-z/]+); activations: ([a-z/]+)")
_NONE: Final = ("", "none", "act_cpu_offload=false")
_FUYOU: Final = "nvme + cpu (optimizer states, activations)"


def offload_settings(row: PublishedRow) -> Settings | None:
    """The scenario's ``plan.offload``, None where nothing leaves the device.

    Gradients live with the optimizer, which reads them (arXiv 2101.06840, section 4; arXiv
    2104.07857, section 5.1).

    Raises:
        CannotRunError: if the row offloads in another way than is modelled.
    """
    text = row.lower("offload")
    elsewhere = "offload" in row.lower("recompute") or "cpu offload" in row.lower("note")
    if text in _NONE and not elsewhere:
        return None
    stated = _STATED.fullmatch(text)
    if stated:
        weights, optimizer, activations = (_TIERS[word] for word in stated.groups())
        return _homes(weights, optimizer, activations)
    if re.fullmatch(r"cpu \(?params\+optimizer\)?", text):
        return _homes("host", "host", "device")
    # The two-party study of dcomp.csv sets none of what else its runs depend on.
    if re.fullmatch(r"cpu optimizer(\+grads)?", text) and row.source in ("zoff", "z3off"):
        return _homes("device", "host", "device")
    if text == _FUYOU:
        moment = "in_backward" if row.lower("framework") == "fuyou" else "after_step"
        activations = "nvme" if moment == "in_backward" else "host"
        return _homes("nvme", "nvme", activations) | {"optimizer_moment": moment}
    raise CannotRunError("this kind of offload to host memory or NVMe is not modelled")


def _homes(weights: str, optimizer: str, activations: str) -> Settings:
    return {
        "weights": weights,
        "gradients": optimizer,
        "optimizer": optimizer,
        "activations": activations,
    }
