"""The scalars of a stack that can be fitted: their bounds, and where a fit starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from simulator.numeric import FloatArray

Kind = Literal["kernels", "host", "network"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One scalar; fits work on its logarithm.

    Attributes:
        low, high: what is physical: kernels no faster than measured alone, networks no faster
            than their links, host work of microseconds per launch.
        starts: values from which a fit starts; the best one is taken.
        default: without any measurement, in a stack that extends no other.
        yaml_key: its key in a stack file.
        unit: in which it is written there, empty for a plain number.
        kind: what it stretches; scalars of one kind make up for one another.
    """

    low: float
    high: float
    starts: tuple[float, ...]
    default: float
    yaml_key: str
    unit: str = ""
    kind: Kind = "kernels"


_SCALE_STARTS: Final = (1.0, 1.15, 1.35, 1.7)

PARAMETERS: Final[Mapping[str, Parameter]] = {
    "gemm_scale": Parameter(1.0, 1.6, (1.02, 1.2, 1.4), 1.0, "gemm_scale"),
    "memory_scale": Parameter(0.8, 2.5, _SCALE_STARTS, 1.0, "memory_scale"),
    "attention_scale": Parameter(0.8, 2.5, _SCALE_STARTS, 1.0, "attention_scale"),
    "network_scale": Parameter(0.2, 1.0, (0.3, 0.6, 0.95), 1.0, "network_scale", kind="network"),
    "blocking_p2p_scale": Parameter(
        1.0, 10.0, (1.2, 2.0, 4.0), 1.0, "blocking_p2p_scale", kind="network"
    ),
    # The loss is flat around small values, where the device hides the host.
    "layer_overhead_s": Parameter(
        1e-5, 5e-3, (1e-4, 3e-4, 6e-4, 1.2e-3, 2.4e-3), 0.0, "layer_overhead", "s", "host"
    ),
    "collective_overhead_s": Parameter(
        1e-6, 1e-3, (1e-5, 5e-5, 2e-4), 0.0, "collective_overhead", "s", "host"
    ),
    "layer_stall_s": Parameter(1e-6, 5e-3, (1e-5, 2e-4, 6e-4), 0.0, "layer_stall", "s", "host"),
    "microbatch_overhead_s": Parameter(
        1e-5, 1e-2, (1e-4, 5e-4, 2e-3), 1e-4, "microbatch_overhead", "s", "host"
    ),
    "step_overhead_s": Parameter(1e-3, 2.0, (5e-3, 3e-2, 0.2), 2e-2, "step_overhead", "s", "host"),
}
"""Name in ``Stack`` -> parameter. The defaults are those of the stack all others extend."""


def log_bounds(names: Sequence[str]) -> tuple[FloatArray, FloatArray]:
    """Logarithms of the lowest and the highest values of some scalars. [names] each."""
    low = np.log([PARAMETERS[name].low for name in names])
    return low, np.log([PARAMETERS[name].high for name in names])
