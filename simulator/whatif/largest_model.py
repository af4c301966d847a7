"""The largest model that fits a machine under a plan: the capacity law of all its levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from simulator.errors import NothingFitsError
from simulator.model import num_parameters
from simulator.scenario import Scenario
from simulator.simulate import job_memory
from simulator.spec.load import ScenarioSource
from simulator.spec.overrides import Override

MOST_LAYERS: Final = 8192
"""Depth at which the search ends."""


def largest_depth(source: ScenarioSource) -> Scenario:
    """The scenario with the most layers of its width that fit on every level of memory.

    Layers come in multiples of the plan's virtual stages.

    Args:
        source: of the scenario; its own number of layers does not matter.

    Assumes: memory grows with the layers.

    Raises:
        NothingFitsError: if not even one layer per virtual stage fits.
        TrainsimError: if the scenario is wrong.
    """
    unit = source.scenario().plan.num_stages
    fitting, count = _with_layers(source, unit), 1
    if not fits(fitting):
        raise NothingFitsError(f"does not fit, not even with {unit} layers of this width")
    most = MOST_LAYERS // unit
    while 2 * count <= most and fits(double := _with_layers(source, 2 * count * unit)):
        fitting, count = double, 2 * count
    low, high = count, min(2 * count, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        between = _with_layers(source, middle * unit)
        if fits(between):
            fitting, low = between, middle
        else:
            high = middle
    return fitting


def largest_of(scenarios: Sequence[Scenario]) -> Scenario:
    """The scenario with most parameters among those that fit.

    Raises:
        NothingFitsError: if none fits.
    """
    for scenario in sorted(scenarios, key=lambda one: -num_parameters(one.model)):
        if fits(scenario):
            return scenario
    raise NothingFitsError(f"none of the {len(scenarios)} models fits")


def fits(scenario: Scenario) -> bool:
    """Whether it fits on the devices, in host memory and on NVMe."""
    return job_memory(scenario).fits


def _with_layers(source: ScenarioSource, num_layers: int) -> Scenario:
    return source.having(Override("model.num_layers", num_layers)).scenario()
